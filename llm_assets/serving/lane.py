"""A lane: the rows of one package in flight, over one KV cache. Slots, admission, prompts in chunks, decoding together.

Slots 0…n-1 of the cache hold the rows that are being decoded; slot n the one whose prompt is being read in chunks, if
there is one. A row that ends leaves its slot to the last, so that one call always decodes the first n.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from llm_assets.inference.kv_cache import aligned
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.pace import holding, next_look
from llm_assets.serving.package import Served
from llm_assets.serving.prefix_cache import PrefixCache
from llm_assets.serving.rows import Event, Row

Tell = Callable[[Row, Event], None]
MIN_CAPACITY = 128  # tokens of a slot; it doubles while rows need more
USUAL = 256  # tokens of a row, for which memory is taken before it comes
STEPS = 256  # that are made at once: more than fit into a moment
BURST = 8  # times prefill_tokens that may be read while rows which came together begin


class Lane:
    """One package's rows. `tell` is called with what rows produce, and `send` when that is not to wait for what comes
    next; `arrived` says whether there are rows that are not in the queue yet."""

    def __init__(
        self,
        package: Served,
        settings: ServingConfig,
        metrics: Metrics,
        tell: Tell,
        send: Callable[[], None],
        arrived: Callable[[], bool],
    ) -> None:
        self._model = package.model
        self._settings, self._metrics, self._arrived = settings, metrics, arrived
        self._tell, self._send = tell, send
        self._longest = aligned(self._model.context)
        tokens = settings.kv_cache_mb * 2**20 // self._model.token_bytes
        # Two rows of the whole context always fit, whatever the setting says: any request can be answered.
        self._cache = self._model.new_cache(max(tokens, 2 * self._longest), min(MIN_CAPACITY, self._longest))
        self._prefixes = PrefixCache(settings.prefix_cache_mb * 2**20, self._cache)
        self._cache.touch(settings.max_batch * USUAL)
        self._prefixes.touch(2 * settings.max_batch * USUAL)  # where prompts stay when their rows have left
        self.waiting: deque[Row] = deque()
        self.decoding: list[Row] = []
        self.reading: Row | None = None
        self._joining: list[Row] = []  # short prompts that are being read together
        self._burst = 0  # prompt tokens read since the last decoding

    @property
    def rows(self) -> list[Row]:
        """The rows that hold a slot."""
        return [*self.decoding, *self._joining, *([self.reading] if self.reading else [])]

    @property
    def used(self) -> int:
        """Tokens in the KV cache."""
        return sum(row.past for row in self.rows)

    @property
    def room(self) -> int:
        """Tokens that the KV cache has room for."""
        return self._cache.tokens

    @property
    def busy(self) -> bool:
        return bool(self.decoding or self.reading or self.waiting)

    def drop(self, gone: Callable[[Row], bool]) -> None:
        """Let the rows for which `gone` leave their slots, and the queue."""
        if self.reading and gone(self.reading):
            self.reading = None
        self._joining = [row for row in self._joining if not gone(row)]
        self._leave([at for at, row in enumerate(self.decoding) if gone(row)])
        for row in [row for row in self.waiting if gone(row)]:
            self.waiting.remove(row)

    @property
    def gathers(self) -> bool:
        """Whether decoding waits: rows that come together begin together, so one that has only its first token waits
        while prompts are read. A reply that is under way never waits for more than `prefill_tokens`."""
        free = len(self.decoding) < self._settings.max_batch
        more = self.reading is not None or (free and (self._arrived() or bool(self.waiting)))
        return more and not self._begun and 0 < self._burst < BURST * self._settings.prefill_tokens

    @property
    def _begun(self) -> bool:
        """Whether a reply is under way."""
        return any(row.past > len(row.prompt) for row in self.decoding)

    @property
    def _chunk(self) -> int:
        """Most prompt tokens of one call."""
        return self._settings.prefill_tokens * (1 if self._begun else 2)

    def read(self) -> int:
        """Read prompts, at most `prefill_tokens` of them while a reply is under way, which waits no longer than that:
        the next chunk of a long one, or several short ones together. How many tokens were read."""
        tokens = self._read()
        self._burst += tokens
        return tokens

    def _read(self) -> int:
        if self.reading is None:
            self._admit()
        started = time.monotonic()
        if self._joining:
            rows = self._joining
            logits = self._model.read_prompts(self._cache, [row.prompt for row in rows], len(self.decoding))
            for row in rows:
                row.past = len(row.prompt)
            self._joining = []
            self._begin(rows, logits, started)
            return sum(row.past for row in rows)
        if self.reading is not None:
            row = self.reading
            stop = min(len(row.prompt), row.past + self._chunk)
            last = stop == len(row.prompt)
            chunk = row.prompt[row.past : stop]
            found = self._model.read_chunk(self._cache, len(self.decoding), row.past, chunk, last)
            row.past = stop
            if found is not None:
                self.reading = None
                self._begin([row], found[None], started)
            return len(chunk)
        return 0

    def decode(self) -> tuple[int, int]:
        """One token more for every row that has read its prompt, or several. How many rows that are, and tokens."""
        rows, self._burst = self.decoding, 0
        if not rows:
            return 0, 0
        started = time.monotonic()
        tokens = np.array([row.token for row in rows], dtype=np.int64)
        lengths = np.array([row.past for row in rows], dtype=np.int32)
        spare = self.reading.past if self.reading else 0
        endless = [at for at, row in enumerate(rows) if row.endless]
        before, logits = self._model.decode_greedily(
            self._cache, tokens, lengths, self._steps(rows), spare, self._until(rows, started), endless
        )
        steps = len(before) + 1
        for row, taken in zip(rows, before.T.tolist(), strict=True):
            row.past += steps
            if taken:
                row.take(taken)
        self._metrics.batch_size.observe(len(rows), steps)
        count = len(rows)
        self._leave(self._advance(rows, logits, steps))
        return count, count * steps

    def _steps(self, rows: list[Row]) -> int:
        """How many tokens the rows may get before anybody looks at them: one, where somebody waits, or something else
        than the likeliest tokens is asked for."""
        if self.waiting or self.reading or not all(row.greedy for row in rows):
            return 1
        return min(STEPS, *(row.endless or row.left for row in rows))

    def _until(self, rows: list[Row], now: float) -> Callable[[], bool]:
        """Says when rows are to be looked at: a row has arrived, or one of them is to tell."""
        end = next_look(rows, now)
        return lambda: self._arrived() or time.monotonic() >= end

    def _begin(self, rows: list[Row], logits: np.ndarray, started: float) -> None:
        """Rows whose prompts have been read get their first token, and are decoded from now on."""
        first, read = len(self.decoding), time.monotonic()
        self.decoding.extend(rows)
        ended = self._advance(rows, logits)
        self._send()
        for slot, row in enumerate(rows, first):
            self._prefixes.keep(row.prompt, self._cache, slot)
            self._metrics.prefill_time.observe(read - max(started, row.started))
        self._leave([first + at for at in ended])

    def _advance(self, rows: list[Row], logits: np.ndarray, tokens: int = 1) -> list[int]:
        """Choose each row's next token, the last of so many, and tell; which of the rows have ended."""
        ended = []
        now = time.monotonic()
        holds = holding(rows, now)
        for at, (row, hold, likeliest) in enumerate(zip(rows, holds, logits.argmax(axis=1).tolist(), strict=True)):
            piece = row.choose(likeliest, logits[at], hold)
            if row.first_token:
                self._metrics.inter_token.observe((now - row.last_token) / tokens, tokens)
            else:
                row.first_token = now
                self._metrics.ttft.observe(now - row.queued)
            row.last_token = now
            if not hold:
                row.looked = now
            if piece is not None:
                self._tell(row, piece)
                if piece.finish:
                    self._metrics.inference_time.observe(now - row.started)
                    ended.append(at)
        return ended

    def _leave(self, slots: list[int]) -> None:
        """Empty these slots (ascending): the last rows move into them, and so does the prompt being read."""
        for slot in reversed(slots):
            row = self.decoding.pop()
            last = len(self.decoding)
            if slot != last:
                self.decoding[slot] = row
                self._cache.move(last, slot, row.past)
        if slots and self.reading:
            self._cache.move(len(self.decoding) + len(slots), len(self.decoding), self.reading.past)

    def _admit(self) -> None:
        """Give slots to the next rows in the queue: several short prompts that are to be read together, or one that
        becomes `reading`, with its cached beginning put into its slot."""
        group = self._joining
        width = 0
        while self.waiting and len(self.decoding) + len(group) < self._settings.max_batch:
            row = self.waiting[0]
            width = max(width, len(row.prompt))
            if group and (len(group) + 1) * width > self._chunk:
                break
            found = self._prefixes.find(row.prompt)
            alone = bool(found.tokens) or len(row.prompt) > self._chunk
            if (group and alone) or not self._fits(row):
                break
            self.waiting.popleft()
            row.start()
            self._metrics.queue_time.observe(row.started - row.queued)
            self._metrics.prefix_queries.inc(len(row.prompt))
            self._metrics.prefix_hits.inc(found.tokens)
            if alone:
                self.reading = row
                for at, block in enumerate(found.blocks):
                    self._cache.write(len(self.decoding), at * block.shape[2], block)
                row.past = found.tokens
                break
            group.append(row)

    def _fits(self, row: Row) -> bool:
        """Whether there is a slot for `row` beside those in use; lays the cache out anew where that makes one."""
        used = [*self.decoding, *self._joining]
        capacity = min(MIN_CAPACITY, self._longest)
        longest = max(other.room for other in (*used, row))
        while capacity < longest:
            capacity = min(2 * capacity, self._longest)
        enough = self._cache.capacity >= longest and self._cache.rows > len(used)
        if not enough and self._cache.tokens // capacity // 2 * 2 > len(used):
            self._cache.reshape(capacity, [other.past for other in self.decoding])
            enough = True
        return enough
