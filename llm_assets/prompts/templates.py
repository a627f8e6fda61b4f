"""Prompt templates: what a model is asked, and how its answer is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from llm_assets.artifacts import REPORT, read_json
from llm_assets.chat_format import render_chat
from llm_assets.config import Section
from llm_assets.errors import UserError

Technique = Literal["zero_shot", "few_shot", "chain_of_thought"]
SLOT = "{text}"


class Shot(Section):
    """One worked example of a few-shot prompt."""

    text: str
    answer: str


class PromptTemplate(Section):
    """How a task is put to a model. `{text}` in `user` stands for at most `max_chars` characters of a document."""

    name: str
    task: str
    technique: Technique = "zero_shot"
    system: str | None = None
    user: str
    examples: list[Shot] = Field([], description="worked examples that go before the question")
    max_chars: int = Field(320, ge=1)

    @field_validator("user")
    @classmethod
    def _has_slot(cls, value: str) -> str:
        if SLOT not in value:
            raise ValueError(f"must contain {SLOT}, where the document goes")
        return value


def cut_text(text: str, limit: int) -> str:
    """`text` with single spaces, cut at the last word that ends within `limit` characters."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    end = text.rfind(" ", 0, limit + 1)
    return text[: end if end > 0 else limit]


def render_prompt(template: PromptTemplate, text: str) -> str:
    """The prompt for `text`, in the chat format, ending where the answer begins."""
    messages = [{"role": "system", "content": template.system}] if template.system else []
    for shot in template.examples:
        messages += [
            {"role": "user", "content": template.user.replace(SLOT, cut_text(shot.text, template.max_chars))},
            {"role": "assistant", "content": shot.answer},
        ]
    question = template.user.replace(SLOT, cut_text(text, template.max_chars))
    return render_chat([*messages, {"role": "user", "content": question}])


def parse_answer(template: PromptTemplate, completion: str) -> str:
    """The answer in a completion: all of it, or, after a chain of thought, its last line."""
    lines = [line.strip() for line in completion.splitlines() if line.strip()]
    if template.technique == "chain_of_thought":
        return lines[-1] if lines else ""
    return " ".join(lines)


def load_templates(folder: Path) -> list[PromptTemplate]:
    """The templates of a `prompt_library`; a task's first one is its base."""
    return [PromptTemplate.model_validate(item) for item in read_json(folder / REPORT)["templates"]]


def base_template(folder: Path, task: str) -> PromptTemplate:
    """The zero-shot template that models are trained in."""
    for template in load_templates(folder):
        if template.task == task:
            return template
    raise UserError(f"prompt_library has no template for task {task!r}; the documents hold no rows for it")


def best_template(folder: Path, task: str) -> PromptTemplate:
    """The winner of an `optimized_prompt`."""
    best = read_json(folder / REPORT)["best"]
    if task not in best:
        raise UserError(f"optimized_prompt has no template for task {task!r}; it ranked: {', '.join(sorted(best))}")
    return PromptTemplate.model_validate(best[task])
