"""The `prompts` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_assets.config import Section

Task = Literal["route", "summarise"]


class PromptsConfig(Section):
    """The candidates, and how they are compared."""

    tasks: tuple[Task, ...] = Field(
        ("route", "summarise"),
        min_length=1,
        description="what models are trained, aligned and measured for, as far as the train split has rows for it",
    )
    max_chars: int = Field(
        320, ge=40, le=4000, description="characters of a document that a prompt shows, cut at a word, everywhere"
    )
    shots: int = Field(3, ge=1, le=16, description="examples in a few-shot prompt, as far as the budget goes")
    shot_chars: int = Field(100, ge=20, description="characters that each example shows")
    few_shot_chars: int = Field(420, ge=60, description="budget of all examples together, answers included")
    constraint_chars: int = Field(
        240, ge=0, description="a candidate lists the allowed labels if they fit into so many characters"
    )
    rows: int = Field(300, ge=1, description="validation rows on which the last round ranks the candidates")
    first_rows: int = Field(80, ge=1, description="validation rows of the first round, which all candidates enter")
    finalists: int = Field(3, ge=1, description="candidates of a task that enter the last round")
    route_tokens: int = Field(12, ge=1, le=64, description="tokens of an answer to `route` at most")
    summary_tokens: int = Field(24, ge=1, le=128, description="tokens of a summary at most")
    thought_tokens: int = Field(16, ge=1, le=64, description="further tokens for a chain of thought")
