"""One row's way from logits to text: the choice of a token, stop texts, and text that is safe to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNFINISHED = "\ufffd"  # how a tokenizer shows a character whose bytes are not all there yet


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. temperature 0 is greedy. A seed makes a row's choices its own: they depend on
    nothing but the seed, the prompt and the model."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


def choose(logits: np.ndarray, sampling: Sampling, random: np.random.Generator) -> int:
    """The next token for one row; logits float32 [vocab]."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / sampling.temperature
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    draw = random.random()
    if sampling.top_p >= 1:
        return _at(np.cumsum(weights), draw, np.arange(len(weights)))
    order = np.argsort(-weights, kind="stable")
    mass = np.cumsum(weights[order])
    keep = int(np.searchsorted(mass, sampling.top_p)) + 1  # the smallest set that holds top_p
    return _at(mass[:keep] / mass[min(keep, len(mass)) - 1], draw, order[:keep])


def _at(mass: np.ndarray, draw: float, tokens: np.ndarray) -> int:
    return int(tokens[min(int(np.searchsorted(mass, draw, side="right")), len(tokens) - 1)])


@dataclass
class TextState:
    """The text of one row as its tokens come: what may be sent, and whether a stop text has ended it."""

    tokenizer: Tokenizer
    stop: tuple[str, ...]
    ids: list[int] = field(default_factory=list)
    sent: int = 0
    text: str = ""
    stopped: bool = False

    def add(self, token: int) -> str:
        """The text that has become certain with `token`."""
        self.ids.append(token)
        self.text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        found = [at for stop in self.stop if (at := self.text.find(stop)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
            return self.rest()
        certain = self.text.rstrip(UNFINISHED)
        # The beginning of a stop text may not be sent before it is known not to be one.
        held = max((_overlap(certain, stop) for stop in self.stop), default=0)
        return self._send(len(certain) - held)

    def rest(self) -> str:
        """What is still to be sent when the row has ended."""
        return self._send(len(self.text))

    def _send(self, end: int) -> str:
        piece = self.text[self.sent : end]
        self.sent = max(self.sent, end)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
