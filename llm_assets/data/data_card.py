"""The data card: what the data is, where it is from, what was done to it, and which biases can be measured.

In the manner of model cards and data statements (Mitchell et al. 2019, arXiv:1810.03993; Gebru et al., Datasheets for
Datasets, arXiv:1803.09010). All of it is computed but the intended use, which the recipe says (`data.card`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, read_table
from llm_assets.data.language import MIN_JUDGED, clearly_english, language_of
from llm_assets.data.profile_cards import marked, table
from llm_assets.data.profile_table import parquet_batches

if TYPE_CHECKING:
    import pyarrow as pa

JUDGED = 400  # texts whose language is told
MOST = 25  # rows of a table of the card
REDACTED = ("EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "SSN", "URL")  # in brackets, where personal data was
NO_USE = "Not stated. Set `data.card.intended_use` in the recipe to say what the data is for, and what it is not for."


def measure_card(
    folders: Mapping[str, Path],
    report: Mapping[str, Any],
    gone: Mapping[str, Mapping[str, int]],
    intended_use: str = "",
) -> list[dict[str, Any]]:
    """The card as plain data: [{title, text: [sentences], tables: [{head, rows}]}].

    folders: asset -> the folder of its documents; report: step -> its profile (rows, columns, changes);
    gone: of "acquisition", "cleaning", "augmentation" and "balancing": reason -> rows that it threw out.
    """
    names = ["label", "split", "source", "licence", "content_hash", "weight", "parents"]
    raw, cleaned, balanced = (
        read_table(folders[f"{step}_documents"] / DOCUMENTS, names) for step in ("raw", "cleaned", "balanced")
    )
    texts = _read_texts(folders["cleaned_documents"] / DOCUMENTS)
    kept = report["cleaned_documents"]["rows"]
    unread, lost = (sum(gone[stage].values()) for stage in ("acquisition", "cleaning"))
    made = sum(1 for some in balanced["parents"].to_pylist() if some)
    return [
        _section("Intended use", [intended_use.strip() or NO_USE]),
        _section(
            "At a glance",
            [],
            _table(
                ("stage", "rows", "labels", "distinct texts", "median characters"),
                [_glance(step, found) for step, found in report.items()],
            ),
        ),
        _section("Sources and licences", [_licence_words(raw)], _sources(raw, balanced)),
        _section("Languages", *_languages(texts)),
        _section("Labels", *_labels(cleaned, balanced)),
        _section("Splits", [], _table(("split", "rows", "share"), _shares(cleaned["split"]))),
        _section(
            "What was rejected, and why",
            [
                f"Of {lost + kept:,} documents cleaning rejected {lost:,} ({_percent(lost, lost + kept)}); "
                f"{unread:,} rows of the sources could not be read."
            ],
            _table(
                ("stage", "reason", "rows"),
                [[stage, *pair] for stage, reasons in gone.items() for pair in reasons.items()],
            ),
        ),
        _section("Personal data", *_personal(texts, report)),
        _section(
            "Augmentation",
            [f"{made:,} of the {balanced.num_rows:,} training rows ({_percent(made, balanced.num_rows)}) were made "
             "from others; each names its parents."],
            _table(("step", "training rows"), list(report["balanced_documents"]["changes"].items())),
        ),
        _section(
            "Known biases, as measured",
            [],
            _table(("what", "measured", "why it matters"), _biases(raw, cleaned, texts, report)),
        ),
    ]  # fmt: skip


def card_markdown(card: Sequence[Mapping[str, Any]], name: str) -> str:
    """The card as Markdown; texts from data cannot make headings, tables, links or HTML."""
    from llm_assets.pictures import cell

    lines = [f"# Data card: {cell(name)}", ""]
    for section in card:
        lines += [f"## {section['title']}", ""]
        for sentence in section["text"]:
            lines += [sentence if sentence == NO_USE else cell(sentence, limit=5000), ""]
        for shown in section["tables"]:
            right = [
                all(not isinstance(row[place], str) for row in shown["rows"]) for place in range(len(shown["head"]))
            ]
            lines.append("| " + " | ".join(shown["head"]) + " |")
            lines.append("| " + " | ".join("---:" if number else "---" for number in right) + " |")
            for row in shown["rows"]:
                cells = [f"{v:,}" if isinstance(v, int) else cell(str(v)) for v in row]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines)


def card_page(card: Sequence[Mapping[str, Any]]) -> str:
    """The card's sections as HTML."""
    parts = []
    for section in card:
        words = "".join(f"<p><small>{marked(sentence)}</small></p>" for sentence in section["text"])
        tables = "".join(table(shown["head"], shown["rows"]) for shown in section["tables"])
        parts.append(f'<article class="card"><h3>{escape(section["title"])}</h3>{words}{tables}</article>')
    return f'<div class="flowing">{"".join(parts)}</div>'


def _section(title: str, text: Sequence[str], *tables: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "text": [words for words in text if words], "tables": [t for t in tables if t["rows"]]}


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {"head": list(head), "rows": [list(row) for row in rows[:MOST]]}


def _glance(step: str, found: Mapping[str, Any]) -> list[Any]:
    labels, texts = (found["columns"][name]["distinct"] for name in ("label", "content_hash"))
    lengths = found["columns"]["text"]["lengths"] or {"median": 0}
    return [step, found["rows"], labels, texts, int(lengths["median"])]


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0.0%"


def _counts(column: Any) -> list[tuple[str, int]]:
    """(value, rows), the most frequent first."""
    import pyarrow.compute as pc

    pairs = [(item["values"], item["counts"]) for item in pc.value_counts(column.combine_chunks()).to_pylist()]
    return sorted((("(none)" if value is None else value, n) for value, n in pairs), key=lambda p: (-p[1], p[0]))


def _shares(column: Any) -> list[list[Any]]:
    return [[value, count, _percent(count, len(column))] for value, count in _counts(column)]


def _sources(raw: pa.Table, balanced: pa.Table) -> dict[str, Any]:
    def grouped(rows: pa.Table) -> dict[tuple[str, str], int]:
        found = rows.group_by(["source", "licence"]).aggregate([([], "count_all")]).to_pylist()
        return {(row["source"], row["licence"] or "(none)"): row["count_all"] for row in found}

    before, after = grouped(raw), grouped(balanced)
    order = sorted(before, key=lambda key: (-before[key], key))
    return _table(
        ("source", "licence", "raw rows", "training rows"), [[*key, before[key], after.get(key, 0)] for key in order]
    )


def _licence_words(raw: pa.Table) -> str:
    licences = _counts(raw["licence"])
    unknown = sum(count for name, count in licences if name.lower() in ("(none)", "unknown", ""))
    many = f"{len(licences)} licences" if len(licences) != 1 else "one licence"
    told = f"{len(_counts(raw['source']))} sources under {many}."
    return f"{told} Of {_percent(unknown, raw.num_rows)} of the rows the licence is not known." if unknown else told


@dataclass
class Texts:
    """What a pass over the cleaned texts tells. sample: those whose language is told; lengths: label -> [sum, rows]."""

    rows: int = 0
    sample: list[str] = field(default_factory=list)
    redacted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REDACTED, 0))
    lengths: dict[str, list[int]] = field(default_factory=dict)


def _read_texts(path: Path) -> Texts:
    """The sample has the smallest ids, which are hashes, so that the choice is even and does not change."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = read_table(path, ["id"])["id"].combine_chunks()
    chosen = ids.take(pc.array_sort_indices(ids)[:JUDGED])
    found = Texts()
    for batch in parquet_batches(path, ["id", "text", "label"]):
        found.rows += batch.num_rows
        found.sample += batch["text"].filter(pc.is_in(batch["id"], chosen)).to_pylist()
        marked = batch["text"].filter(pc.match_substring(batch["text"], "["))
        for kind in REDACTED:
            found.redacted[kind] += int(pc.sum(pc.count_substring(marked, f"[{kind}]")).as_py() or 0)
        sized = pa.table({"label": batch["label"], "length": pc.cast(pc.utf8_length(batch["text"]), "int64")})
        for row in sized.group_by("label").aggregate([("length", "sum"), ("length", "count")]).to_pylist():
            if row["label"] is not None:
                total = found.lengths.setdefault(row["label"], [0, 0])
                total[0] += row["length_sum"]
                total[1] += row["length_count"]
    return found


def _languages(texts: Texts) -> tuple[list[str], dict[str, Any]]:
    found: dict[str, int] = {}
    for text in texts.sample:
        letters = sum(map(str.isalpha, text[:400]))
        language = (
            "en" if clearly_english(text) else language_of(text)[0] if letters >= MIN_JUDGED else "too short to tell"
        )
        found[language] = found.get(language, 0) + 1
    total = len(texts.sample)
    rows = [[name, n, _percent(n, total)] for name, n in sorted(found.items(), key=lambda p: (-p[1], p[0]))]
    how = (
        "all cleaned texts" if texts.rows <= JUDGED else f"{total:,} cleaned texts, drawn by the hash that is their id"
    )
    return [f"Told from {how}."], _table(("language", "texts", "share"), rows)


def _labels(cleaned: pa.Table, balanced: pa.Table) -> tuple[list[str], dict[str, Any]]:
    import pyarrow.compute as pc

    counts = [(name, n) for name, n in _counts(cleaned["label"]) if name != "(none)"]
    if not counts:
        return ["No row has a label."], _table((), [])
    weights = balanced.select(["label"]).append_column("weight", pc.cast(balanced["weight"], "float64"))
    mass = {
        row["label"]: row["weight_sum"] for row in weights.group_by("label").aggregate([("weight", "sum")]).to_pylist()
    }
    total = sum(value or 0 for value in mass.values())
    rows = [[name, n, _percent(n, cleaned.num_rows), _percent(mass.get(name) or 0, total)] for name, n in counts]
    ratio = counts[0][1] / counts[-1][1]
    words = f"{len(counts)} labels; the most frequent has {ratio:,.1f} times the rows of the rarest (imbalance ratio)."
    return [words], _table(("label", "cleaned rows", "share", "share of the training weight"), rows)


def _personal(texts: Texts, report: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    redacted = [[kind, count] for kind, count in texts.redacted.items() if count]
    what = "an e-mail address"
    before, left = (report[f"{step}_documents"]["columns"]["text"]["holding"] for step in ("raw", "cleaned"))
    words = [f"{before.get(what, 0):,} raw and {left.get(what, 0):,} cleaned texts hold {what}."]
    words.append("Redacted places, by type:" if redacted else "No redacted place is in the cleaned texts.")
    return words, _table(("type", "places"), redacted)


def _biases(raw: pa.Table, cleaned: pa.Table, texts: Texts, report: Mapping[str, Any]) -> list[list[str]]:
    import pyarrow.compute as pc

    sources = _counts(raw["source"])
    labels = [n for name, n in _counts(cleaned["label"]) if name != "(none)"]
    lengths = report["cleaned_documents"]["columns"]["text"]["lengths"]
    distinct = report["raw_documents"]["columns"]["content_hash"]["distinct"]
    pairs = raw.filter(pc.is_valid(raw["label"])).group_by(["label", "source"]).aggregate([]).group_by("label")
    single = sum(row["source_count"] == 1 for row in pairs.aggregate([("source", "count")]).to_pylist())
    rows = [
        ["source concentration", f"{_percent(sources[0][1], raw.num_rows)} of the raw rows are from {sources[0][0]}",
         "its style and errors are the data's"],
        ["labels of one source only", f"{single} of {len(labels)}", "a model may tell the source instead of the label"],
        ["duplicate rate", f"{_percent(raw.num_rows - distinct, raw.num_rows)} of the raw texts repeat another exactly",
         "what repeats is learnt by heart"],
    ]  # fmt: skip
    if labels:
        rows.insert(0, ["imbalance", f"{labels[0] / labels[-1]:,.1f} : 1", "rare labels are learnt worse; see Labels"])
    if lengths:
        rows.append(
            ["length skew", f"1% of the texts have {lengths['p99']:,.0f} characters or more, half "
             f"{lengths['median']:,.0f} or less", "long texts are cut to what a model reads"]
        )  # fmt: skip
        means = sorted((total / count, label) for label, (total, count) in texts.lengths.items())
        if len(means) > 1:
            low, high = means[0], means[-1]
            measured = f"{high[0]:,.0f} characters on average for {high[1]}, {low[0]:,.0f} for {low[1]}"
            rows.append(["length by label", measured, "a model may tell the length instead of the label"])
    return rows
