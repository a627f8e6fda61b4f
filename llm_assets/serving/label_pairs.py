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
from llm_assets.serving.protocol import ApiError, Closed, invalid, shown
from llm_assets.serving.replies import prepare
from llm_assets.serving.requests import ChatRequest
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import latest_requests

HEATS = (1.0, 1.5, 2.0)  # temperatures, in turn, until two replies differ
REPLIES = 4  # sampled at each
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
            raise ApiError(400, f"line {number}: task '{shown(posted.task)}' is not one of {known}", param="task")
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
    """Two of some sampled replies that differ; None when the model says the same at every temperature."""
    served = service.served()
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4])
    many = min(REPLIES, service.settings.max_choices)
    for heat in HEATS:
        asked = {"model": model, "messages": [{"role": "user", "content": text}], "n": many, "seed": seed}
        request = ChatRequest.model_validate(asked | {"temperature": heat})
        deadline = time.monotonic() + service.settings.deadline_seconds
        reply = prepare(request, served, service.settings, deadline)
        reply.probe = True  # neither traffic nor from a cache
        async with aclosing(service.desk.begin(reply)) as pieces:  # type: ignore[type-var]
            async for _ in pieces:
                pass
        said = list(dict.fromkeys(choice.text for choice in reply.choices if choice.text.strip()))
        if len(said) >= 2:
            return make_pair(task, text, (said[0], said[1]), "traffic", served.digest)
    return None


async def sample_pairs(service: Service, home: Path, wanted: list[tuple[str, str, str]]) -> int:
    """Make a pair of each; how many there are. Texts that this model cannot take are passed over, and so is what a busy
    server refuses once there is a pair; ApiError where there is none."""
    added = 0
    for model, task, text in wanted:
        try:
            pair = await sample_pair(service, model, task, text)
        except ApiError as error:
            if added or error.param == "messages":
                continue
            raise
        added += add_pairs(home, [pair]) if pair else 0
    return added
