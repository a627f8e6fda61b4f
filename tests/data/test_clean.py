"""Cleaning: no row is lost, nothing leaks between splits, no label can be read off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import document_schema, read_table, rejected_schema, write_table
from llm_assets.data.acquire import read_sources
from llm_assets.data.clean import clean_documents, clean_table
from llm_assets.data.clean_summary import split_overlap
from llm_assets.data.config import CleanConfig, Files, NearDuplicateConfig, SplitConfig
from llm_assets.data.dedup import find_duplicates
from llm_assets.data.language import language_problems
from llm_assets.data.markup import plain_prose, repair_text, tidy_space
from llm_assets.data.masking import ALIASES, label_names, mask_label
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.data.sentences import split_summary
from llm_assets.data.split import splits_of
from llm_assets.errors import UserError

SHARED = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# fmt: off
WORDS = [
    "array", "model", "query", "column", "graph", "value", "index", "loss", "axis", "token",
    "frame", "image", "test", "path", "error", "the", "of", "and", "to",
]
# fmt: on


def table(texts: list[str | None], label: str | None = "pandas", source: str = "test"):
    return documents_table(
        [
            {
                "id": text_hash(f"{source}{n}"), "text": text, "label": label, "source": source, "uri": f"{source}:{n}",
                "content_hash": text_hash(text or ""), "parents": [], "steps": [],
            }
            for n, text in enumerate(texts)
        ]
    )  # fmt: skip


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED}; set LLM_ASSETS_TEST_DATA")
    return path


@QUICK
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)))
)
def test_no_row_is_lost(texts: list[str | None]) -> None:
    raw = table([text if text is None else text.encode("utf-8", "replace").decode() for text in texts])
    kept, rejected = clean_table(raw, CleanConfig(min_chars=5, mask_labels=True))
    assert kept.schema.equals(document_schema())
    assert rejected.schema.equals(rejected_schema())
    assert sorted(kept["id"].to_pylist() + rejected["id"].to_pylist()) == sorted(raw["id"].to_pylist())
    assert all(rejected["reason"].to_pylist())
    assert split_overlap(kept) == 0


@QUICK
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=4, max_size=12), min_size=2, max_size=30))
def test_no_near_duplicate_stays(documents: list[list[str]]) -> None:
    config = NearDuplicateConfig(same_start=0, shingle=2)
    texts = [" ".join(words) for words in documents]
    dropped = {item.row: item for item in find_duplicates(texts, config)}
    kept = [n for n in range(len(texts)) if n not in dropped]

    def parts(n: int) -> set[tuple[str, ...]]:
        words = texts[n].split()
        return {tuple(words[i : i + 2]) for i in range(len(words) - 1)}

    for place, one in enumerate(kept):
        for other in kept[place + 1 :]:
            shared_parts = len(parts(one) & parts(other)) / len(parts(one) | parts(other))
            assert shared_parts < 0.9  # MinHash may miss one pair in 20,000 just at the threshold of 0.8
    for item in dropped.values():
        assert item.of in kept
        if item.reason == "near_duplicate":
            assert len(parts(item.row) & parts(item.of)) / len(parts(item.row) | parts(item.of)) >= config.threshold


def test_gold_near_duplicates_are_found() -> None:
    folder = shared("near_dup")
    lines = (folder / "articles_1000.train").read_text(encoding="utf-8").splitlines()
    names, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    found = {
        frozenset((names[item.row], names[item.of]))
        for item in find_duplicates(texts, NearDuplicateConfig(threshold=0.7))
    }
    gold = {frozenset(line.split()) for line in (folder / "articles_1000.truth").read_text().splitlines()}
    assert found == gold


def test_exact_duplicates_differ_only_in_form() -> None:
    found = find_duplicates(["Return the index.", "return   the INDEX", "Return the value"], NearDuplicateConfig())
    assert [(item.row, item.of, item.reason) for item in found] == [(1, 0, "exact_duplicate")]


def test_same_start_is_one_document() -> None:
    start = "".join(f"word{n} " for n in range(60))
    other = " ".join(f"more{n}" for n in range(400))
    found = find_duplicates([start, start + other], NearDuplicateConfig())
    assert [(item.row, item.reason) for item in found] == [(1, "same_start")]


@QUICK
@given(
    st.sampled_from([*sorted(ALIASES), "rich", "fontTools", "dulwich"]),
    st.lists(st.sampled_from(["NAME", "ALIAS", "x", "data", ".", "_", " ", "(", "Np", "TORCH"]), max_size=12),
)
def test_masking_leaves_no_name(label: str, parts: list[str]) -> None:
    names = label_names(label)
    text = "".join({"NAME": label, "ALIAS": names[-1].upper()}.get(part, part) for part in parts)
    masked = mask_label(text, label).lower()
    for name in names:
        if len(name) > 4:
            assert name not in masked
        else:
            assert name not in masked.replace(".", " ").replace("_", " ").replace("(", " ").split()


def test_masking_of_paths_identifiers_and_aliases() -> None:
    assert mask_label("See np.linalg.norm in NumPy.", "numpy") == "See linalg.norm in library."
    assert mask_label("A DagsterInstance of dagster", "dagster") == "A Instance of library"
    assert mask_label("the input of scikit-learn", "sklearn") == "the input of library"
    assert mask_label("import pandas as pd; pd.concat", "pandas") == "import library as library; concat"
    assert mask_label("matplotlib.pyplot.plot", "matplotlib") == "plot"


def test_markup_becomes_prose() -> None:
    text = (
        "Merge :class:`~pandas.DataFrame` objects with ``how``, see `docs <https://x.org/a>`_.\n\n"
        "Parameters\n----------\nright : **DataFrame**\n    Object to merge.\n\n"
        ".. versionadded:: 1.2\n\n>>> df.merge(x)\n   a\n0  1\n\nDone.\n"
    )
    assert tidy_space(plain_prose(repair_text(text))) == (
        "Merge pandas.DataFrame objects with how, see docs.\nParameters\nright : DataFrame Object to merge.\n"
        "new in version 1.2\nDone."
    )


def test_mojibake_is_repaired_and_sound_text_left_alone() -> None:
    folder = shared("mojibake")

    def same(case: dict[str, str]) -> bool:
        """But for typographic quotes, which are no damage here and stay."""
        quotes = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
        return repair_text(case["original"]).translate(quotes) == case["fixed"].translate(quotes)

    for name in ("synthetic.json", "negative.json"):
        cases = [case for case in json.loads((folder / name).read_text("utf-8")) if case["expect"] == "pass"]
        assert len(cases) >= 30
        assert [case["original"] for case in cases if not same(case)] == []
    assert repair_text("a &amp; b\x00\u200b\r\nc") == "a & b\nc"


def test_language_rule() -> None:
    config = CleanConfig().language
    german = "Die Funktion gibt den Index des ersten Elements zurück, das in dieser Liste nicht vorkommt."
    english = "Return the index of the first element that is in this list."
    found = language_problems([english, "sort_values(axis=0, kind)", None, german], config)
    assert found[:3] == [None, None, None]
    assert str(found[3]).startswith("de")


def test_summary_and_body() -> None:
    body = "It looks at every row, e.g. the first, and compares it with all of the others. " * 2
    assert (
        split_summary(f"Find rows that are alike (e.g. copies). {body}")[0] == "Find rows that are alike (e.g. copies)."
    )
    assert split_summary("Short. " + body) == (None, None)
    assert split_summary("Only one sentence that stands alone here.") == (None, None)


def test_splits_have_their_shares_and_do_not_move() -> None:
    config = SplitConfig()
    splits = splits_of([text_hash(str(n)) for n in range(20_000)], config)
    for name in ("train", "validation", "test", "canary"):
        assert abs(splits.count(name) / len(splits) - getattr(config, name)) < 0.01
    assert splits[:50] == splits_of([text_hash(str(n)) for n in range(50)], config)


def test_correction_relabels_the_document_it_repeats() -> None:
    import pyarrow as pa

    text = "Create an edge between two nodes of the graph and return the number of its edges."
    both = pa.concat_tables([table([text], "numpy"), table([text], "networkx", source="feedback")])
    kept, rejected = clean_table(both, CleanConfig())
    assert kept["label"].to_pylist() == ["networkx"]
    assert kept["id"].to_pylist() == both["id"].to_pylist()[:1]
    assert "label was taken over" in rejected["detail"].to_pylist()[0]


def test_cleaning_is_deterministic_and_idempotent_per_text() -> None:
    text = "Return ``x`` of :func:`numpy.sum`, the total of the array.\n\nNotes\n-----\nIt is fast.\n" * 2
    config = CleanConfig(mask_labels=True)
    once, _ = clean_table(table([text], "numpy"), config)
    twice, _ = clean_table(once, config)
    assert twice["text"][0].as_py().replace("\n", " ") == once["text"][0].as_py().replace("\n", " ")


def test_all_rejected_is_an_error(tmp_path: Path) -> None:
    write_table(table(["x", "y"]), tmp_path / "documents.parquet")
    with pytest.raises(UserError, match="too_short 2"):
        clean_documents(tmp_path, tmp_path, CleanConfig())


def test_banking77_through_the_files_source(tmp_path: Path) -> None:
    folder = shared("banking77")
    columns = {"text_column": "text", "label_column": "category"}
    sources = [
        Files.model_validate({"paths": [str(folder / "train.csv")], **columns}),
        Files.model_validate({"paths": [str(folder / "test.csv")], "split": "test", **columns}),
    ]
    raw = read_sources(sources, tmp_path)
    assert raw.num_rows == 13_083
    write_table(raw, tmp_path / "documents.parquet")
    summary = clean_documents(tmp_path, tmp_path, CleanConfig(min_chars=10))
    kept = read_table(tmp_path / "documents.parquet")
    assert len(set(kept["label"].to_pylist())) == 77
    assert summary.metrics["lost_rows"] == summary.metrics["split_overlap"] == 0
    assert kept.num_rows > 12_000
    assert read_table(tmp_path / "rejected.parquet").num_rows == raw.num_rows - kept.num_rows
