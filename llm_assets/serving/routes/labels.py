"""/v1/label/…: pairs of replies for people to compare, their votes, how far they agree, and the export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from llm_assets.serving.agreement import Agreement, agreement
from llm_assets.serving.document import own_headers, takes
from llm_assets.serving.label_pairs import read_posted, sample_pairs, unpaired_requests
from llm_assets.serving.label_requests import MAX_REVIEWER, SampleRequest, UndoRequest, VoteRequest
from llm_assets.serving.labels import (
    CHAT,
    Pair,
    Side,
    Vote,
    add_pairs,
    add_vote,
    next_pairs,
    preferred,
    read_pairs,
    read_votes,
    shown_order,
    undo_vote,
    verdicts,
)
from llm_assets.serving.protocol import ApiError, body_of, shown
from llm_assets.serving.service import Service

LINES = {"schema": {"type": "string", "description": "a JSON object a line"}}
EXPORT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/jsonl": LINES},
        "headers": own_headers(content_disposition="the name to save it under"),
    }
}


class ShownPair(TypedDict):
    """A pair as a reviewer sees it: nothing in it says which reply is whose."""

    id: str
    task: str
    text: str
    left: str
    right: str


class Progress(TypedDict):
    """mine, left: pairs this reviewer has judged, and is still to judge. decided: of all pairs, with a verdict."""

    mine: int
    left: int
    pairs: int
    decided: int


class Turn(TypedDict):
    pair: ShownPair | None
    progress: Progress
    guidelines: str


class Posted(TypedDict):
    posted: int
    added: int


class Sampled(TypedDict):
    """sampled: texts that were answered twice. added: those whose replies differ."""

    sampled: int
    added: int


def add(app: FastAPI, service: Service) -> None:
    home = service.home

    @app.get("/v1/label/next")
    async def next_pair(reviewer: Annotated[str, Query(min_length=1, max_length=MAX_REVIEWER)]) -> Turn:
        return await run_in_threadpool(_turn, service, reviewer)

    @app.post("/v1/label/votes", openapi_extra=takes(VoteRequest))
    async def vote(request: Request) -> Turn:
        given = await body_of(request, VoteRequest)
        await run_in_threadpool(_vote, home, given)
        service.metrics.votes.labels(given.choice).inc()
        return await run_in_threadpool(_turn, service, given.reviewer)

    @app.post("/v1/label/undo", openapi_extra=takes(UndoRequest))
    async def undo(request: Request) -> Turn:
        given = await body_of(request, UndoRequest)
        taken = await run_in_threadpool(undo_vote, home, given.reviewer)
        if taken is None:
            raise ApiError(404, f"'{shown(given.reviewer)}' has no vote to take back", param="reviewer", code="no_vote")
        return await run_in_threadpool(_turn, service, given.reviewer, taken)

    @app.post("/v1/label/pairs", openapi_extra={"requestBody": {"required": True, "content": {"text/plain": LINES}}})
    async def pairs(request: Request) -> Posted:
        """Add pairs: a line is `{"text", "replies": [one, another], "task"}`, the task "chat" where none is said."""
        tasks = {CHAT, *(task for task, _ in service.current().tasks.values())}
        posted = read_posted(await request.body(), tasks)
        return {"posted": len(posted), "added": await run_in_threadpool(add_pairs, home, posted)}

    @app.post("/v1/label/sample", openapi_extra=takes(SampleRequest))
    async def sample(request: Request) -> Sampled:
        given = await body_of(request, SampleRequest)
        wanted = await run_in_threadpool(unpaired_requests, home, service.served().names, given.count)
        return {"sampled": len(wanted), "added": await sample_pairs(service, home, wanted)}

    @app.get("/v1/label/agreement")
    async def agreed() -> Agreement:
        return agreement(await run_in_threadpool(read_votes, home))

    @app.get("/v1/label/export", response_class=Response, responses=EXPORT)
    async def export() -> Response:
        text = await run_in_threadpool(preference_jsonl, home)
        named = {"content-disposition": 'attachment; filename="preferences.jsonl"'}
        return Response(text, media_type="application/jsonl; charset=utf-8", headers=named)


def preference_jsonl(home: Path) -> str:
    """What people prefer, in TRL's conversational preference format: prompt, chosen, rejected; a pair a line."""
    rows = [
        {"prompt": _said("user", pair.text), "chosen": _said("assistant", yes), "rejected": _said("assistant", no)}
        for pair, yes, no in preferred(home)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def _said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def _vote(home: Path, given: VoteRequest) -> None:
    pair = read_pairs(home).get(given.pair)
    if pair is None:
        raise ApiError(404, f"there is no pair '{shown(given.pair)}'", param="pair", code="pair_not_found")
    chosen: Side
    match given.choice:
        case "tie" | "skip":
            chosen = given.choice
        case side:
            chosen = "a" if (side == "left") == (shown_order(pair.id, given.reviewer) == "ab") else "b"
    add_vote(home, pair, given.reviewer, chosen)


def _turn(service: Service, reviewer: str, taken_back: Vote | None = None) -> Turn:
    """What the reviewer is to judge now, blind, and how far all are; the pair of a vote taken back comes first."""
    settings = service.settings.labelling
    pairs, votes = read_pairs(service.home), read_votes(service.home)
    queue = next_pairs(pairs, votes, reviewer, settings.votes)
    now = pairs.get(taken_back.pair) if taken_back else None
    now = now or (queue[0] if queue else None)
    return {
        "pair": _shown(now, reviewer) if now else None,
        "progress": {
            "mine": sum(vote.reviewer == reviewer for vote in votes),
            "left": len(queue),
            "pairs": len(pairs),
            "decided": len(verdicts(pairs, votes)),
        },
        "guidelines": settings.guidelines,
    }


def _shown(pair: Pair, reviewer: str) -> ShownPair:
    left, right = (pair.a, pair.b) if shown_order(pair.id, reviewer) == "ab" else (pair.b, pair.a)
    return {"id": pair.id, "task": pair.task, "text": pair.text, "left": left, "right": right}
