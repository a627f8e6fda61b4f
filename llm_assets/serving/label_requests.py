"""The requests of the labelling page, with their limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_assets.serving.protocol import RequestBody

MAX_REVIEWER = 60  # characters of a reviewer's name
REVIEWER = Field(min_length=1, max_length=MAX_REVIEWER)


class VoteRequest(RequestBody):
    pair: str
    reviewer: str = REVIEWER
    choice: Literal["left", "right", "tie", "skip"]


class UndoRequest(RequestBody):
    reviewer: str = REVIEWER


class SampleRequest(RequestBody):
    count: int = Field(8, ge=1, le=50)
