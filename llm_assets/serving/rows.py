"""A row: one choice of one request, from the queue to its last token."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_assets.serving.package import Served
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.reply_text import ReplyText
from llm_assets.serving.sampling import Matcher, Sampler, Sampling, TokenLogprob

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Piece:
    """What a row has produced since its last piece. tokens: of the reply so far. `finish` is None until its last
    piece: "stop" or "length"."""

    index: int
    text: str
    tokens: int
    finish: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


Event = Piece | ApiError


@dataclass(eq=False)
class Row:
    """One choice of one request. `emit` is called where the engine delivers events. Times are of the monotonic clock.

    streamed: whether somebody reads it while it grows. past: tokens of it that lie in the KV cache. token: the last one
    chosen, which does not. looked: when its text was last asked for, to be told as far as it is certain.
    """

    package: Served
    prompt: list[int]
    sampling: Sampling
    index: int
    deadline: float
    emit: Callable[[Event], None]
    matcher: Matcher | None = None
    streamed: bool = True
    queued: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    past: int = 0
    token: int = 0
    started: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    looked: float = 0.0
    _held: str = ""
    _told: list[TokenLogprob] = field(default_factory=list)
    _unread: list[int] = field(default_factory=list)  # tokens whose text is not known yet

    def start(self) -> None:
        """It has a slot. What choosing needs is made here, and not for rows that are refused or leave the queue."""
        self.started = time.monotonic()
        self._eos, self._plain = self.package.model.eos, self.sampling.plain
        self._sampler = Sampler(self.sampling, self.prompt, self._eos, self.index, self.matcher)
        self._text = ReplyText(self.package.model.tokenizer, self.sampling.stop)

    @property
    def room(self) -> int:
        """Tokens of the KV cache that it may come to need."""
        return len(self.prompt) + self.sampling.max_tokens

    @property
    def left(self) -> int:
        """How many tokens it may still get."""
        return self.sampling.max_tokens - self._text.tokens - len(self._unread)

    @property
    def greedy(self) -> bool:
        """Whether its tokens are the likeliest ones up to the end token or `left`, whatever they say."""
        return self._plain and not self.sampling.stop

    @property
    def endless(self) -> int:
        """How many of its next tokens are certain to be the likeliest of all but the end token."""
        chosen = self._text.tokens + len(self._unread)
        if not self._plain or not self.sampling.bans_end(chosen):
            return 0
        return self.left if self.sampling.ignore_eos else self.sampling.min_tokens - chosen

    def take(self, tokens: list[int]) -> None:
        """The next tokens of a `greedy` row, fewer than `left`; `choose` tells of them with the one it takes."""
        self.token = tokens[-1]
        self._unread += tokens

    def choose(self, likeliest: int, logits: np.ndarray, hold: bool = False) -> Piece | None:
        """Take the next token, given the logits after the last (float32 [vocab]) and their argmax; what there is to
        tell, None while there is nothing. hold: keep the text for the next piece, unless this one is the last."""
        chosen = self._text.tokens + len(self._unread)
        if self._plain and not (likeliest == self._eos and self.sampling.bans_end(chosen)):
            self.token = likeliest
        else:
            self.token, told = self._sampler.choose(logits, chosen)
            if told is not None:
                self._told.append(told)
        if self.token == self._eos:
            return self._piece(self._read() + self._text.rest(), "stop", extra=1)
        self._unread.append(self.token)
        if hold and self.left and not self.sampling.stop:
            return None  # what nobody waits for is read later, many tokens at once
        text = self._read()
        if self._text.stopped:
            return self._piece(text, "stop")
        if not self.left:
            return self._piece(text + self._text.rest(), "length")
        self._held += text
        return self._piece("") if self._held and not hold else None

    def _read(self) -> str:
        """The text of what was not read yet."""
        text = self._text.add(self._unread) if self._unread else ""
        self._unread = []
        return text

    def _piece(self, text: str, finish: str | None = None, extra: int = 0) -> Piece:
        text, self._held = self._held + text, ""
        told, self._told = tuple(self._told), []
        return Piece(self.index, text, self._text.tokens + extra, finish, told)
