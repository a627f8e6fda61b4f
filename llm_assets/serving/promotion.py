"""Champion or challenger: both are judged on the same rows, and the better one is served."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_assets.artifacts import DOCUMENTS, PACKAGE, Progress, no_progress, read_json, read_table
from llm_assets.errors import UserError
from llm_assets.serving.package import ROUTE, is_encoder

MAX_NEW_TOKENS = 24  # of a label


@dataclass(frozen=True)
class Verdict:
    """decision: "deploy" or "keep"; the accuracies are on `rows` rows (champion's None when there is
    none).
    """

    decision: str
    reason: str
    challenger: float
    champion: float | None
    rows: int


def test_rows(documents: Path, limit: int) -> list[tuple[str, str]]:
    """(text, label) of at most `limit` labelled test documents. People's feedback goes first, up to half of
    them; the choice depends on the documents' ids alone, so a champion and a challenger get the same rows.

    Raises UserError when the test split has no labelled row.
    """
    table = read_table(documents / DOCUMENTS, columns=["id", "text", "label", "split", "source"])
    found = [row for row in table.to_pylist() if row["split"] == "test" and row["label"] and row["text"]]
    if not found:
        raise UserError(f"the test split of {documents / DOCUMENTS} has no labelled row to judge models on")
    found.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    feedback = [row for row in found if row["source"] == "feedback"][: max(limit // 2, 1)]
    others = [row for row in found if row["source"] != "feedback"]
    return [(row["text"], row["label"]) for row in (feedback + others)[:limit]]


def accuracy(package: Path, rows: Sequence[tuple[str, str]], threads: int, progress: Progress = no_progress) -> float:
    """Share of rows that a package labels right, as it does where it is served."""
    texts = [text for text, _ in rows]
    encoder = (package / PACKAGE).is_file() and is_encoder(read_json(package / PACKAGE))
    said = (_classified if encoder else _generated)(package, texts, threads, progress)
    return sum(answer == label for answer, (_, label) in zip(said, rows, strict=True)) / len(rows)


def _classified(package: Path, texts: Sequence[str], threads: int, progress: Progress) -> list[str]:
    """The likeliest class of as much of each text as the encoder reads. UserError where it has no classes."""
    from llm_assets.inference.encoder_model import EncoderModel

    model = EncoderModel(package, threads)
    if not model.labels:
        raise UserError(f"{package} has no classes: it cannot be judged on labelled documents, nor deployed by a run")
    said = []
    for at, text in enumerate(texts, 1):
        found = model.encode([model.cutting.encode(text).ids]).probabilities
        assert found is not None
        said.append(model.labels[int(found[0].argmax())])
        progress(at, len(texts), "texts classified")
    return said


def _generated(package: Path, texts: Sequence[str], threads: int, progress: Progress) -> list[str]:
    """The answers to the route task's template."""
    from llm_assets.inference.onnx_generator import OnnxGenerator
    from llm_assets.prompts import PromptTemplate, parse_answer, render_prompt

    generator = OnnxGenerator(package, threads)
    template = PromptTemplate.model_validate(generator.model.package["tasks"][ROUTE])
    prompts = [render_prompt(template, text) for text in texts]
    said = generator.generate(prompts, MAX_NEW_TOKENS if template.technique != "chain_of_thought" else 96, progress)
    return [parse_answer(template, text) for text in said]


def judge(
    challenger: Path,
    champion: Path | None,
    rows: Sequence[tuple[str, str]],
    *,
    tolerance: float,
    threads: int,
    same: bool = False,
    withdrawn: bool = False,
    champion_withdrawn: bool = False,
    progress: Progress = no_progress,
) -> Verdict:
    """Whether `challenger` is to be served. same: the champion is this very package. withdrawn: people went back
    from the challenger. champion_withdrawn: what is being served must not be (it saw a row that has been erased).
    """
    new = accuracy(challenger, rows, threads, progress)
    if champion is None:
        return Verdict("deploy", "nothing was being served", new, None, len(rows))
    if same:
        return Verdict("keep", "this package is being served already", new, new, len(rows))
    if champion_withdrawn and not withdrawn:
        return Verdict("deploy", "what was being served is withdrawn", new, None, len(rows))
    try:
        old = accuracy(champion, rows, threads, progress)
    except (UserError, KeyError, OSError) as error:
        return Verdict("deploy", f"the champion cannot be read any more ({error})", new, None, len(rows))
    if withdrawn:
        return Verdict("keep", "people went back from this package (`llm-assets rollback`)", new, old, len(rows))
    if new >= old - tolerance:
        return Verdict("deploy", f"accuracy {new:.4f} against the champion's {old:.4f}", new, old, len(rows))
    return Verdict(
        "keep",
        f"accuracy {new:.4f} is below the champion's {old:.4f} (tolerance {tolerance:g})",
        new,
        old,
        len(rows),
    )
