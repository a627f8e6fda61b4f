"""From logits to the next token: penalties, constraints, temperature, truncation, seed and log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

BLOCK = 128  # weights that are summed up together


@dataclass(frozen=True)
class Constraint:
    """What a reply must be, enforced while decoding.

    value: a JSON schema as JSON text ("{}" for any JSON), a regular expression, or a JSON list of the choices.
    """

    kind: Literal["json_schema", "regex", "choice"]
    value: str


@dataclass(frozen=True)
class Sampling:
    """How the tokens of a row are chosen.

    max_tokens, min_tokens: bounds of the reply; the end token is not chosen before `min_tokens`, and never with
    `ignore_eos`. temperature: 0 is greedy. top_p (0, 1], top_k (0: all), min_p [0, 1]: which tokens are drawn from.
    repetition_penalty: Keskar et al. 2019, section 4.1, over prompt and reply. presence_penalty, frequency_penalty:
    OpenAI's, over the reply. logit_bias: (token, added). seed: makes a row's choices its own: they depend on nothing
    but the seed, the prompt and the model. logprobs: alternatives told beside each token; None: nothing is told.
    """

    max_tokens: int
    min_tokens: int = 0
    ignore_eos: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    constraint: Constraint | None = None

    @property
    def plain(self) -> bool:
        """Whether the next token is the one with the largest logit, if it may come at all, and no more is told."""
        changed = (
            self.temperature
            or self.repetition_penalty != 1
            or self.presence_penalty
            or self.frequency_penalty
            or self.logit_bias
            or self.constraint
        )
        return not changed and self.logprobs is None

    def bans_end(self, chosen: int) -> bool:
        """Whether the end token may not come after so many tokens."""
        return self.ignore_eos or chosen < self.min_tokens


class Matcher(Protocol):
    """A constraint on one reply as it grows."""

    def mask(self, logits: np.ndarray) -> None:
        """Set the logits, float32 [vocab], of tokens that may not come next to -inf, in place."""
        ...

    def advance(self, token: int) -> None:
        """The token that came."""
        ...


@dataclass(frozen=True)
class TokenLogprob:
    """A token of a reply with its log-probability under the model, before anything was changed or cut.

    top: the likeliest tokens at its place and theirs, likeliest first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses the tokens of one row. `index` is the row's among the choices of its request: each draws for itself."""

    def __init__(
        self, sampling: Sampling, prompt: list[int], eos: int, index: int = 0, matcher: Matcher | None = None
    ) -> None:
        self._sampling, self._eos, self._matcher = sampling, eos, matcher
        self._random = None
        if sampling.temperature > 0:
            self._random = np.random.default_rng(None if sampling.seed is None else [sampling.seed % 2**64, index])
        self._prompt = np.unique(np.array(prompt, dtype=np.int64)) if sampling.repetition_penalty != 1 else None
        self._counts: dict[int, int] = {}

    def choose(self, logits: np.ndarray, chosen: int) -> tuple[int, TokenLogprob | None]:
        """The next token for logits float32 [vocab], which are left as they were; `chosen` tokens came before it."""
        sampling = self._sampling
        scores = self._adjusted(logits, chosen)
        token = int(scores.argmax()) if self._random is None else _draw(scores, sampling, self._random.random())
        if sampling.repetition_penalty != 1 or sampling.presence_penalty or sampling.frequency_penalty:
            self._counts[token] = self._counts.get(token, 0) + 1
        if self._matcher is not None:
            self._matcher.advance(token)
        return token, None if sampling.logprobs is None else _told(logits, token, sampling.logprobs)

    def _adjusted(self, logits: np.ndarray, chosen: int) -> np.ndarray:
        sampling = self._sampling
        scores = logits.copy()
        if self._prompt is not None:
            seen = np.union1d(self._prompt, np.fromiter(self._counts, np.int64, len(self._counts)))
            penalty = np.float32(sampling.repetition_penalty)
            scores[seen] = np.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
        if self._counts and (sampling.presence_penalty or sampling.frequency_penalty):
            tokens = np.fromiter(self._counts, np.int64, len(self._counts))
            counts = np.fromiter(self._counts.values(), np.float32, len(self._counts))
            scores[tokens] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        for token, added in sampling.logit_bias:
            scores[token] += added
        if self._matcher is not None:
            # A constraint says itself when a reply may end; a bound below it would leave no token at all.
            self._matcher.mask(scores)
        elif sampling.bans_end(chosen):
            scores[self._eos] = -np.inf
        return scores


def _draw(scores: np.ndarray, sampling: Sampling, draw: float) -> int:
    """The token at `draw` (uniform in [0, 1)) of the distribution that temperature, top-k, top-p and min-p leave.

    Tokens lie in the order of the vocabulary. To sort them, or to sum them up one by one, would take longer than a step
    of a small model.
    """
    weights = np.exp((scores - scores.max()) / np.float32(sampling.temperature))
    if 0 < sampling.top_k < len(weights):
        _keep(weights, sampling.top_k, np.partition(weights, -sampling.top_k)[-sampling.top_k])
    if sampling.top_p < 1:
        _keep(weights, *_nucleus(weights, sampling.top_p))
    if sampling.min_p > 0:
        weights[weights < sampling.min_p] = 0
    return _at(weights, draw)


def _keep(weights: np.ndarray, count: int, smallest: np.float32) -> None:
    """Put all but the `count` largest to 0, in place, given the smallest of these; of equal ones the first are kept."""
    weights *= weights >= smallest
    surplus = np.count_nonzero(weights) - count
    if surplus > 0:
        weights[np.flatnonzero(weights == smallest)[-surplus:]] = 0


def _nucleus(weights: np.ndarray, top_p: float) -> tuple[int, np.float32]:
    """How many tokens the smallest set has that holds `top_p` of the mass (Holtzman et al. 2020, section 3.1), and the
    smallest weight in it."""
    total = weights.sum(dtype=np.float64)
    large = weights[weights >= (1 - top_p) * total / len(weights)]  # all others together are less than what may miss
    large = np.sort(large)[::-1]
    mass = np.cumsum(large, dtype=np.float64)
    count = min(int(np.searchsorted(mass, top_p * total)) + 1, len(large))
    return count, large[count - 1]


def _at(weights: np.ndarray, share: float) -> int:
    """The first token at which the sum of the weights up to it is more than `share` of all: never one without weight.
    Summed up one by one are only those of the block it lies in."""
    ends = np.cumsum(np.add.reduceat(weights, np.arange(0, len(weights), BLOCK), dtype=np.float64))
    wanted = share * ends[-1]
    block = _passes(ends, wanted)
    begin = BLOCK * block
    within = np.cumsum(weights[begin : begin + BLOCK], dtype=np.float64)
    return begin + _passes(within, wanted - (ends[block - 1] if block else 0.0))


def _passes(sums: np.ndarray, wanted: float) -> int:
    """Where ascending sums first are more than `wanted`; the first of the largest where rounding keeps all from it."""
    at = int(np.searchsorted(sums, wanted, side="right"))
    return at if at < len(sums) else int(np.searchsorted(sums, sums[-1]))


def _told(logits: np.ndarray, token: int, count: int) -> TokenLogprob:
    scores = logits.astype(np.float64)
    logprobs = scores - scores.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    top: tuple[tuple[int, float], ...] = ()
    if count:
        likeliest = np.argpartition(-logprobs, min(count, len(logprobs) - 1))[:count]
        likeliest = likeliest[np.lexsort((likeliest, -logprobs[likeliest]))]
        top = tuple((int(at), float(logprobs[at])) for at in likeliest)
    return TokenLogprob(token, float(logprobs[token]), top)
