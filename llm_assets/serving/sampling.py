"""From logits to the next token: penalties, constraints, temperature, truncation, seed and log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np


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

    Ties and the order of summation are fixed by a stable sort, so equal scores give equal tokens on any machine.
    """
    tokens = np.flatnonzero(scores > -np.inf)
    if 0 < sampling.top_k < len(tokens):
        smallest = np.partition(scores[tokens], -sampling.top_k)[-sampling.top_k]
        tokens = tokens[scores[tokens] >= smallest]
    tokens = tokens[np.argsort(-scores[tokens], kind="stable")]
    if sampling.top_k:
        tokens = tokens[: sampling.top_k]
    scaled = scores[tokens].astype(np.float64) / sampling.temperature
    mass = np.cumsum(np.exp(scaled - scaled[0]))
    kept = len(mass)
    if sampling.top_p < 1:
        kept = int(np.searchsorted(mass, sampling.top_p * mass[-1])) + 1  # the smallest set that holds top_p
    if sampling.min_p > 0:
        kept = min(kept, int((scaled - scaled[0] >= np.log(sampling.min_p)).sum()))
    kept = max(1, min(kept, len(mass)))
    return int(tokens[min(int(np.searchsorted(mass[:kept], draw * mass[kept - 1], side="right")), kept - 1)])


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
