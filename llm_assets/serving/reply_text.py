"""The text of one row as its tokens come: what may be sent already, and whether a stop text has ended it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class ReplyText:
    """Grows by tokens. A character is sent when all its bytes are there, and a text that may become a stop text
    only when it cannot any more."""

    tokenizer: Tokenizer
    stop: tuple[str, ...]
    tokens: int = 0
    text: str = ""
    sent: int = 0
    stopped: bool = False
    _stream: Any = field(default=None, repr=False)
    _ids: list[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(skip_special_tokens=True)

    def add(self, tokens: Sequence[int]) -> str:
        """The text that has become certain with `tokens`. Those after a stop text do not count."""
        if not self.stop:
            self.text += self._step(list(tokens))
            return self._send(len(self.text))
        for token in tokens:
            start = max(0, len(self.text) - max(map(len, self.stop)))
            self.text += self._step([token])
            found = [at for stop in self.stop if (at := self.text.find(stop, start)) >= 0]
            if found:
                self.text, self.stopped = self.text[: min(found)], True
                return self._send(len(self.text))
        held = max(_overlap(self.text, stop) for stop in self.stop)
        return self._send(len(self.text) - held)

    def _step(self, tokens: list[int]) -> str:
        self.tokens += len(tokens)
        self._ids += tokens
        piece = self._stream.step(self.tokenizer, tokens) or ""
        if piece:
            self._ids.clear()
        return piece

    def rest(self) -> str:
        """What is still to be sent when the row has ended; a character whose bytes never came is shown as U+FFFD."""
        if self._ids and not self.stopped:
            self.text += self.tokenizer.decode(self._ids, skip_special_tokens=True)
            self._ids.clear()
        return self._send(len(self.text))

    def _send(self, end: int) -> str:
        piece = self.text[self.sent : end]
        self.sent = max(self.sent, end)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
