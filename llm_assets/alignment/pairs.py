"""Preference pairs: the reference answer against a worse one that the model itself gives, and people's
choices.

On-policy pairs teach most where the model errs: a wrong label that it samples, or its worst summary. Where
every sample is right, the wrong label is the one that this class is most often taken for.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.alignment.config import PairsConfig
from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.alignment.overlap import token_f1
from llm_assets.alignment.sampling import sample_answers
from llm_assets.artifacts import PAIRS, Progress, Summary, no_progress, pair_schema, write_table
from llm_assets.chat_format import render_chat
from llm_assets.errors import UserError
from llm_assets.inference import torch_setup
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts import PromptTemplate, parse_answer, render_prompt

if TYPE_CHECKING:
    from llm_assets.training.instructions import Example

FEEDBACK = (Path("feedback") / "pairs.jsonl", Path("feedback") / "labelled.jsonl")  # by hand; from the labelling page
CHAT = "chat"  # the task of a pair without a template: its text is what the user said
FEEDBACK_KEYS = ("id", "task", "text", "chosen", "rejected")


def feedback_digest(home: Path) -> str:
    """Changes when people's pairs do; empty where there are none."""
    contents = b"".join((home / path).read_bytes() for path in FEEDBACK if (home / path).is_file())
    return hashlib.sha256(contents).hexdigest() if contents else ""


def make_pairs(
    finetuned: Path,
    cleaned: Path,
    templates: Mapping[str, PromptTemplate],
    home: Path,
    out: Path,
    config: PairsConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write `out/pairs.parquet`: pairs of train documents to learn from, of validation documents to be
    judged on.

    Raises UserError if a line of the feedback file is not a pair, or if there is nothing to make pairs of.
    """
    import pyarrow as pa

    torch_setup(seed, threads)
    examples: list[tuple[str, Example]] = []
    for split, limits in (("train", config.train_prompts), ("validation", config.validation_prompts)):
        rows = split_rows(cleaned, split)
        examples += [(split, example) for example in sample_examples(rows, templates, limits, seed)]
    answers = sample_answers(
        finetuned,
        [example.prompt for _, example in examples],
        answer_lengths(finetuned, [example for _, example in examples], config.max_new_tokens),
        config.samples,
        config.temperature,
        seed,
        progress,
    )
    parsed = [
        [parse_answer(templates[example.task], answer) for answer in several]
        for (_, example), several in zip(examples, answers, strict=True)
    ]
    rejected = reject([example for _, example in examples], parsed)
    pairs = [
        {
            "id": f"{example.task}-{example.document_id}",
            "task": example.task,
            "prompt": example.prompt,
            "chosen": example.answer,
            "rejected": worse,
            "origin": "bootstrap",
            "split": split,
            "document_id": example.document_id,
        }
        for (split, example), worse in zip(examples, rejected, strict=True)
        if worse is not None
    ]
    for path in FEEDBACK:
        pairs += feedback_pairs(home / path, templates)
    if not any(pair["split"] == "train" for pair in pairs) or all(pair["split"] == "train" for pair in pairs):
        raise UserError(
            "no preference pairs for both splits: the documents' train or validation split has no row of "
            f"the tasks {', '.join(sorted(templates))}"
        )
    table = pa.Table.from_pylist(pairs, schema=pair_schema())
    write_table(table, out / PAIRS)
    return _summary(pairs, [example for _, example in examples], parsed)


def answer_lengths(checkpoint: Path, examples: Sequence[Example], longest: int) -> list[int]:
    """Tokens that each answer may have: of a label the longest label and its end, of a summary `longest`."""
    tokenizer = load_tokenizer(checkpoint).backend_tokenizer
    labels = sorted({example.answer for example in examples if example.task == "route"})
    label = 1 + max((len(item.ids) for item in tokenizer.encode_batch(labels)), default=0)
    return [min(label, longest) if example.task == "route" else longest for example in examples]


def reject(examples: Sequence[Example], samples: Sequence[Sequence[str]]) -> list[str | None]:
    """For each example the answer to be avoided; None where no worse answer is known."""
    labels = sorted({example.answer for example in examples if example.task == "route"})
    confused: dict[str, Counter[str]] = defaultdict(Counter)
    for example, several in zip(examples, samples, strict=True):
        if example.task == "route":
            confused[example.answer].update(answer for answer in several if answer in labels)
    found: list[str | None] = []
    for example, several in zip(examples, samples, strict=True):
        if example.task == "route":
            found.append(_wrong_label(example.answer, several, labels, confused[example.answer]))
        else:
            scored = sorted((token_f1(answer, example.answer), answer) for answer in several if answer)
            found.append(scored[0][1] if scored and scored[0][0] < 1.0 else None)
    return found


def _wrong_label(answer: str, samples: Sequence[str], labels: Sequence[str], confused: Counter[str]) -> str | None:
    wrong = Counter(sample for sample in samples if sample and sample != answer)
    for counts in (wrong, confused):
        ranked = sorted((-count, label) for label, count in counts.items() if label != answer)
        if ranked:
            return ranked[0][1]
    others = [label for label in labels if label != answer]
    if not others:
        return None
    return others[int(hashlib.sha256(answer.encode()).hexdigest(), 16) % len(others)]


def feedback_pairs(path: Path, templates: Mapping[str, PromptTemplate]) -> list[dict[str, Any]]:
    """People's pairs, one JSON object a line: id, task, text (what was asked), chosen, rejected."""
    if not path.is_file():
        return []
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            values = {key: str(row[key]) for key in FEEDBACK_KEYS}
            task, text = values["task"], values["text"]
            prompt = (
                render_chat([{"role": "user", "content": text}])
                if task == CHAT
                else render_prompt(templates[task], text)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} line {number} is not a preference pair ({error!r}); it needs "
                f"{', '.join(FEEDBACK_KEYS)}, and a task of {', '.join(sorted([CHAT, *templates]))}."
            ) from None
        pairs.append(
            {
                "id": f"feedback-{values['id']}",
                "task": values["task"],
                "prompt": prompt,
                "chosen": values["chosen"],
                "rejected": values["rejected"],
                "origin": "feedback",
                "split": "train",
                "document_id": values["id"],
            }
        )
    return pairs


def _summary(
    pairs: Sequence[Mapping[str, str]], examples: Sequence[Example], samples: Sequence[Sequence[str]]
) -> Summary:
    counts = Counter(f"{pair['task']}, {pair['split']}, {pair['origin']}" for pair in pairs)
    routed = [
        sum(answer == example.answer for answer in several) / len(several)
        for example, several in zip(examples, samples, strict=True)
        if example.task == "route"
    ]
    summarised = [
        token_f1(answer, example.answer)
        for example, several in zip(examples, samples, strict=True)
        if example.task == "summarise"
        for answer in several
    ]
    metrics: dict[str, Any] = {
        "rows": len(pairs),
        "train_pairs": sum(pair["split"] == "train" for pair in pairs),
        "validation_pairs": sum(pair["split"] == "validation" for pair in pairs),
        "feedback_pairs": sum(pair["origin"] == "feedback" for pair in pairs),
    }
    if routed:
        metrics["sampled_route_accuracy"] = round(sum(routed) / len(routed), 4)
    if summarised:
        metrics["sampled_summary_f1"] = round(sum(summarised) / len(summarised), 4)
    shown = [pair for task in ("route", "summarise") for pair in [p for p in pairs if p["task"] == task][:5]]
    return Summary(
        metrics=metrics,
        bars={"pairs": {name: float(count) for name, count in sorted(counts.items())}},
        samples=[
            {
                "task": pair["task"],
                "prompt": pair["prompt"][-240:],
                "chosen": pair["chosen"],
                "rejected": pair["rejected"],
            }
            for pair in shown
        ],
        note="Chosen is the reference answer; rejected is what the fine-tuned model itself says when it errs."
        " Pairs of the validation split are of documents that no model was trained on.",
    )
