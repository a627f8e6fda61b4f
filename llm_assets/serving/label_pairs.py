"""Where pairs come from: two sampled replies to what was asked before, or a file of JSON lines."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path

from pydantic import Field, ValidationError

from llm_assets.serving.labels import CHAT, Pair, add_pairs, make_pair, read_pairs
from llm_assets.serving.protocol import ApiError, Closed, invalid
from llm_assets.serving.replies import prepare
from llm_assets.serving.requests import ChatRequest, Message
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import latest_requests

HEATS = (1.0, 1.4, 1.8)  # temperatures, in turn, until two replies differ
LOOK_BACK = 5_000  # requests of the log that are looked at


class PostedPair(Closed):
    """A line of a posted file. text: what was asked. replies: two that differ."""

    text: str = Field(min_length=1)
    replies: list[str] = Field(min_length=2, max_length=2)
    task: str = CHAT


def read_posted(body: bytes, tasks: Collection[str]) -> list[Pair]:
    """The pairs of JSON lines; ApiError 400 that names the first line that is none."""
    pairs = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            posted = PostedPair.model_validate_json(line)
        except ValidationError as wrong:
            error = invalid(wrong.errors())
            raise ApiError(400, f"line {number}: {error.message}", param=error.param, code=error.code) from None
        first, second = posted.replies
        if first == second:
            raise ApiError(400, f"line {number}: the two replies are the same", param="replies")
        if posted.task not in tasks:
            known = ", ".join(sorted(tasks))
            raise ApiError(400, f"line {number}: task {posted.task!r} is not one of {known}", param="task")
        pairs.append(make_pair(posted.task, posted.text, (first, second), "posted"))
    return pairs


def unpaired_requests(home: Path, models: Collection[str], count: int) -> list[tuple[str, str, str]]:
    """(model, task, text) of the latest `count` chats that have no pair yet, each text once."""

    def found() -> Iterator[tuple[str, str, str]]:
        known = {(pair.task, pair.text) for pair in read_pairs(home).values()}
        for record in islice(latest_requests(home), LOOK_BACK):
            model, text = str(record.get("model")), str(record.get("text") or "")
            task = str(record.get("task") or CHAT)
            chat = record["id"].startswith("chatcmpl-")
            if chat and model in models and text and (task, text) not in known:
                known.add((task, text))
                yield model, task, text

    return list(islice(found(), count))


async def sample_pair(service: Service, model: str, task: str, text: str) -> Pair | None:
    """Two replies that differ, from the model being served; None when it says the same at every temperature."""
    served = service.served()
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4])
    for heat in HEATS:
        request = ChatRequest(
            model=model, messages=[Message(role="user", content=text)], n=2, temperature=heat, seed=seed
        )
        deadline = time.monotonic() + service.settings.deadline_seconds
        reply = prepare(request, served, service.settings, deadline)
        reply.probe = True  # neither traffic nor from a cache
        async with aclosing(service.desk.begin(reply)) as pieces:  # type: ignore[type-var]
            async for _ in pieces:
                pass
        first, second = (choice.text for choice in reply.choices)
        if first != second and first.strip() and second.strip():
            return make_pair(task, text, (first, second), "traffic", served.digest)
    return None


async def sample_pairs(service: Service, home: Path, wanted: list[tuple[str, str, str]]) -> int:
    """Make a pair of each; how many there are. ApiError when the first is refused; a later one ends it."""
    added = 0
    for model, task, text in wanted:
        try:
            pair = await sample_pair(service, model, task, text)
        except ApiError as error:
            if added or error.status == 400:  # a text that this model cannot take, or others were made: no failure
                continue
            raise
        added += add_pairs(home, [pair]) if pair else 0
    return added
