"""The best prompt by measurement: all candidates on a few validation rows, the finalists on more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, REPORT, Progress, Summary, no_progress, read_table, write_json
from llm_assets.inference import load_generator, torch_setup
from llm_assets.prompts.config import PromptsConfig
from llm_assets.prompts.templates import PromptTemplate, load_templates, parse_answer, render_prompt

if TYPE_CHECKING:
    from llm_assets.inference import Generator

COLUMNS = {"route": ("text", "label"), "summarise": ("body", "summary")}  # task -> text shown, answer wanted


def optimize_prompts(
    library: Path,
    model: Path,
    documents: Path,
    out: Path,
    config: PromptsConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write `report.json` = {"best": {task: template}, "leaderboard": [...]}, best first within a task.

    `route` is scored by exact match, `summarise` by the F1 of words with the reference. Equal scores go to the
    shorter prompt, then to the library's order.
    """
    import pyarrow.compute as pc

    torch_setup(seed, threads)
    generator = load_generator(model, threads)
    table = read_table(documents / DOCUMENTS, columns=["text", "label", "summary", "body", "split"])
    validation = table.filter(pc.equal(table["split"], "validation"))
    templates = load_templates(library)
    summary = Summary()
    best: dict[str, Any] = {}
    leaderboard: list[dict[str, Any]] = []
    tasks = [task for task in COLUMNS if any(item.task == task for item in templates)]
    for number, task in enumerate(tasks):
        rows = _rows(validation, task, config.rows, seed)
        candidates = [item for item in templates if item.task == task]
        if not rows:
            best[task] = candidates[0].model_dump()
            continue

        def report(done: float, total: float, note: str = "", number: int = number, task: str = task) -> None:
            progress(number * total + done, len(tasks) * total, f"{task}: {note}")

        ranked = rank(generator, candidates, rows, config, report)
        leaderboard += [{"task": task, **row, "template": template.model_dump()} for template, row in ranked]
        winner, row = ranked[0]
        best[task] = winner.model_dump()
        base = next(other for template, other in ranked if template.name == candidates[0].name)
        summary.metrics |= {
            f"best_{task}": winner.name,
            f"score_{task}": row["score"],
            f"gain_{task}": row["score"] - base["score"],
        }
        summary.bars[f"Score of {task} candidates"] = {template.name: other["score"] for template, other in ranked}
        for text, wanted in rows[:3]:
            prompt = render_prompt(winner, text)
            answer = parse_answer(winner, generator.generate([prompt], _tokens(winner, config))[0])
            summary.samples.append({"task": task, "prompt": prompt[-200:], "wanted": wanted, "answered": answer})
    write_json({"best": best, "leaderboard": leaderboard}, out / REPORT)
    summary.metrics |= {
        "candidates": len(leaderboard),
        "tasks": len(best),
        "lowest_best_score": min(
            (value for name, value in summary.metrics.items() if name.startswith("score_")), default=0.0
        ),
        "lowest_gain": min((value for name, value in summary.metrics.items() if name.startswith("gain_")), default=0.0),
    }
    summary.note = "; ".join(f"**{item['name']}** is best for {task}" for task, item in best.items())
    return summary


def rank(
    generator: Generator,
    candidates: Sequence[PromptTemplate],
    rows: Sequence[tuple[str, str]],
    config: PromptsConfig,
    progress: Progress = no_progress,
) -> list[tuple[PromptTemplate, dict[str, Any]]]:
    """(template, {name, technique, rows, score, prompt_chars}), best first: finalists, then those left behind.

    The base, always the first candidate, is a finalist, so that every gain is measured against it on equal rows.
    """
    found = {}
    for at, template in enumerate(candidates):
        progress(at, 2 * len(candidates), template.name)
        found[at] = _measure(generator, template, rows[: config.first_rows], config)
    order = sorted(found, key=lambda at: (-found[at]["score"], found[at]["prompt_chars"], at))
    finalists = list(dict.fromkeys([*order[: config.finalists], 0]))
    if len(rows) > config.first_rows:
        for done, at in enumerate(finalists):
            progress(len(candidates) + done, len(candidates) + len(finalists), f"final: {candidates[at].name}")
            found[at] = _measure(generator, candidates[at], rows, config)
    order = sorted(found, key=lambda at: (at not in finalists, -found[at]["score"], found[at]["prompt_chars"], at))
    return [(candidates[at], found[at]) for at in order]


def word_f1(answer: str, wanted: str) -> float:
    """F1 of the words two texts share, case ignored; 1 for equal bags of words."""
    got, reference = Counter(answer.lower().split()), Counter(wanted.lower().split())
    shared = sum((got & reference).values())
    return 2 * shared / (sum(got.values()) + sum(reference.values())) if shared else 0.0


def _measure(
    generator: Generator, template: PromptTemplate, rows: Sequence[tuple[str, str]], config: PromptsConfig
) -> dict[str, Any]:
    prompts = [render_prompt(template, text) for text, _ in rows]
    completions = generator.generate(prompts, _tokens(template, config))
    answers = [parse_answer(template, completion) for completion in completions]
    exact = template.task == "route"
    scores = [
        float(answer == wanted) if exact else word_f1(answer, wanted)
        for answer, (_, wanted) in zip(answers, rows, strict=True)
    ]
    return {
        "name": template.name,
        "technique": template.technique,
        "rows": len(rows),
        "score": sum(scores) / len(scores),
        "prompt_chars": round(sum(map(len, prompts)) / len(prompts)),
    }


def _tokens(template: PromptTemplate, config: PromptsConfig) -> int:
    answer = config.route_tokens if template.task == "route" else config.summary_tokens
    return answer + (config.thought_tokens if template.technique == "chain_of_thought" else 0)


def _rows(table: Any, task: str, limit: int, seed: int) -> list[tuple[str, str]]:
    """A seeded sample of (text, answer), in the order it was drawn, so that its first rows are a sample too."""
    import numpy as np

    shown, answer = COLUMNS[task]
    pairs = zip(table[shown].to_pylist(), table[answer].to_pylist(), strict=True)
    rows = [(text, wanted) for text, wanted in pairs if text and wanted]
    return [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))[:limit].tolist()]
