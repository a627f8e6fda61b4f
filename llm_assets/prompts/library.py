"""The candidates: zero-shot variants, few-shot with chosen examples, and chain of thought, for every task.

They are written for any label set: nothing here knows what the labels mean. A task's first template is its base,
the one that models are trained in; it is short, since every one of its tokens is paid for in every training step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm_assets.artifacts import DOCUMENTS, REPORT, Summary, read_table, write_json
from llm_assets.errors import UserError
from llm_assets.prompts.config import PromptsConfig
from llm_assets.prompts.shots import choose_shots
from llm_assets.prompts.templates import SLOT, PromptTemplate, Shot, render_prompt

BASE = {"route": f"Route: {SLOT}", "summarise": f"Summarise: {SLOT}"}
SPECIFIC = {
    "route": f"Route: {SLOT}\nAnswer with exactly one label and nothing else.",
    "summarise": f"Summarise: {SLOT}\nAnswer with one sentence of at most fifteen words.",
}
ROLES = {
    "route": "You are an experienced librarian who files every text under the right label.",
    "summarise": "You are a technical writer who says what matters in one plain sentence.",
}
THOUGHT = {
    "route": f"Route: {SLOT}\nFirst write the keywords that decide, then the label on a new line.",
    "summarise": f"Summarise: {SLOT}\nFirst write the keywords, then the summary on a new line.",
}


def build_library(documents: Path, out: Path, config: PromptsConfig, seed: int) -> Summary:
    """Write `report.json` = {"templates": [...]} for those of `config.tasks` that the train split has rows for."""
    import pyarrow.compute as pc

    table = read_table(documents / DOCUMENTS, columns=["text", "label", "summary", "body", "split"])
    train = table.filter(pc.equal(table["split"], "train"))
    rows = {
        "route": _pairs(train["text"].to_pylist(), train["label"].to_pylist()),
        "summarise": _pairs(train["body"].to_pylist(), train["summary"].to_pylist()),
    }
    templates: list[PromptTemplate] = []
    rows = {task: examples for task, examples in rows.items() if examples and task in config.tasks}
    for task, examples in rows.items():
        templates += task_templates(task, examples, config, seed)
    if not templates:
        raise UserError(
            f"cleaned_documents has no row for any of prompts.tasks ({', '.join(config.tasks)}) in its train split: "
            "`route` needs texts with labels, `summarise` texts of several sentences"
        )
    write_json({"templates": [template.model_dump() for template in templates]}, out / REPORT)
    sample = {task: examples[0][0] for task, examples in rows.items()}
    return Summary(
        metrics={
            "templates": len(templates),
            "tasks": len(sample),
            "duplicate_names": len(templates) - len({(item.task, item.name) for item in templates}),
            "longest_prompt_chars": max(len(render_prompt(item, sample[item.task])) for item in templates),
            **{
                f"{technique}_templates": sum(item.technique == technique for item in templates)
                for technique in ("zero_shot", "few_shot", "chain_of_thought")
            },
        },
        samples=[
            {
                "task": item.task,
                "name": item.name,
                "technique": item.technique,
                "prompt": render_prompt(item, sample[item.task])[:300],
            }
            for item in templates
        ][:12],
        note="A task's first template is the one that models are trained in.",
    )


def task_templates(
    task: str, rows: Sequence[tuple[str, str]], config: PromptsConfig, seed: int
) -> list[PromptTemplate]:
    """All candidates of one task; rows are (text, answer) of the train split."""

    def template(name: str, user: str, **more: object) -> PromptTemplate:
        fields = {"name": name, "task": task, "user": user, "max_chars": config.max_chars} | more
        return PromptTemplate.model_validate(fields)

    shots = choose_shots(rows, config, seed)
    found = [
        template("direct", BASE[task]),
        template("direct-shorter", BASE[task], max_chars=max(1, config.max_chars * 5 // 8)),
        template("direct-longer", BASE[task], max_chars=config.max_chars * 3 // 2),
        template("specific", SPECIFIC[task]),
        template("role", BASE[task], system=ROLES[task]),
    ]
    labels = ", ".join(sorted({answer for _, answer in rows})) if task == "route" else ""
    if labels and len(labels) <= config.constraint_chars:
        found.append(template("constrained", f"Route: {SLOT}\nAllowed labels: {labels}."))
    found.append(template("few-shot", BASE[task], technique="few_shot", examples=[shot.model_dump() for shot in shots]))
    thoughts = [
        Shot(text=shot.text, answer=f"{', '.join(keywords(shot.text))}\n{shot.answer}").model_dump()
        for shot in shots[:2]
    ]
    found.append(template("chain-of-thought", THOUGHT[task], technique="chain_of_thought", examples=thoughts))
    return found


def keywords(text: str, limit: int = 3) -> list[str]:
    """The longest different words of a text, in its order: what a worked chain of thought names first."""
    words = [word.strip(".,:;()[]'\"`") for word in text.split()]
    unique = sorted(dict.fromkeys(word for word in words if word), key=len, reverse=True)[:limit]
    return sorted(unique, key=words.index)


def _pairs(texts: Sequence[str | None], answers: Sequence[str | None]) -> list[tuple[str, str]]:
    return [(text, answer) for text, answer in zip(texts, answers, strict=True) if text and answer]
