"""The desk: gives replies from the caches of replies, or through the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.engine import Engine, deliver_here
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.replies import Choice, Reply
from llm_assets.serving.reply_cache import ReplyCache
from llm_assets.serving.rows import Piece, Row
from llm_assets.serving.sampling import Matcher
from llm_assets.serving.semantic_cache import SemanticCache
from llm_assets.serving.upstream import Upstream


class Desk:
    """Gives replies: from a cache, or through the engine."""

    def __init__(self, engine: Engine | Upstream, settings: ServingConfig, metrics: Metrics) -> None:
        self._engine, self._metrics = engine, metrics
        self._cache = ReplyCache(settings.cache_entries, settings.cache_mb * 2**20)
        similar = settings.semantic_cache
        self._similar = SemanticCache(similar.entries, similar.threshold) if similar else None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, reply: Reply) -> AsyncIterator[Piece]:
        """Queue the reply now (ApiError 429 if there is no room); its pieces as they come, each put into
        its choice.

        A task's reply comes as one piece a choice, once its answer is known. Closing the iterator frees the
        rows.
        """
        found = self._known(reply) if reply.repeatable and not reply.probe else None
        if found is not None:
            reply.cached, reply.first = True, time.monotonic()
            return self._cached(reply, found)
        matchers: Sequence[Matcher | None] = reply.matchers or [None] * len(reply.choices)
        streamed = reply.streamed and reply.model not in reply.package.tasks
        rows = [
            Row(
                reply.package,
                reply.prompts[index // reply.n],
                reply.sampling,
                index,
                reply.deadline,
                reply.events.put_nowait,
                matcher,
                streamed,
            )
            for index, matcher in enumerate(matchers)
        ]
        if self._loop is None:
            self._loop = loop = asyncio.get_running_loop()
            # One wake-up of the event loop for all that a step has produced.
            self._engine.deliver = lambda events: loop.call_soon_threadsafe(deliver_here, events)
        self._engine.submit(rows)
        return self._generated(reply, rows)

    def _known(self, reply: Reply) -> list[Choice] | None:
        """The reply to the same request, or to the same question in other words, where a cache has it."""
        self._metrics.cache_queries.labels("exact").inc()
        found = self._cache.find(reply.cache_key)
        if found is not None:
            self._metrics.cache_hits.labels("exact").inc()
        elif self._similar:
            self._metrics.cache_queries.labels("semantic").inc()
            found = self._similar.find(reply)
            if found is not None:
                self._metrics.cache_hits.labels("semantic").inc()
        return found

    async def _cached(self, reply: Reply, found: list[Choice]) -> AsyncIterator[Piece]:
        for index, known in enumerate(found):
            reply.choices[index] = known
            yield Piece(index, known.text, known.tokens, known.finish, tuple(known.logprobs))

    async def _generated(self, reply: Reply, rows: list[Row]) -> AsyncIterator[Piece]:
        from llm_assets.prompts import parse_answer

        template = reply.package.tasks[reply.model][1] if reply.model in reply.package.tasks else None
        try:
            left = len(rows)
            while left:
                event = await reply.events.get()
                if isinstance(event, ApiError):
                    raise event
                reply.first = reply.first or time.monotonic()
                choice = reply.choices[event.index]
                choice.text += event.text
                choice.logprobs.extend(event.logprobs)
                choice.tokens, choice.finish = event.tokens, event.finish
                left -= event.finish is not None
                if template is None:
                    yield event
                elif event.finish:
                    choice.text = parse_answer(template, choice.text)
                    yield Piece(event.index, choice.text, event.tokens, event.finish, tuple(choice.logprobs))
        finally:
            self._engine.cancel(rows)
        if reply.repeatable:
            self._cache.keep(reply.cache_key, reply.choices)
        if reply.repeatable and self._similar and not reply.probe:
            self._similar.keep(reply)
