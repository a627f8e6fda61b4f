"""Spellings of labels: keys, distances, and the step of `clean`."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import DOCUMENTS, write_table
from llm_assets.data.clean import clean_documents, clean_table
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.keyers import clusters_by_distance, clusters_by_key, fingerprint, ngram_fingerprint
from llm_assets.data.labels import merge_labels
from llm_assets.data.rows import documents_table
from llm_assets.data.table_config import LabelsConfig

QUICK = settings(max_examples=100, deadline=None)


def test_keys_join_spellings():
    assert fingerprint(" Café  de la Paix ") == fingerprint("paix, CAFE de-la".replace("-", " ")) == "cafe de la paix"
    assert fingerprint("Straße") == fingerprint("STRASSE") and fingerprint("C++") != fingerprint("C")
    assert ngram_fingerprint("word press") == ngram_fingerprint("WordPress") and ngram_fingerprint("a") == "a"
    counts = {"New York": 5, "new york": 7, "York, New": 1, "Boston": 2}
    assert clusters_by_key(counts) == [["new york", "New York", "York, New"]]


def test_distance_joins_near_spellings_and_never_digits_or_short_ones():
    counts = {"colour": 9, "color": 4, "cat": 5, "cut": 5, "version 10": 3, "version 11": 3, "colours": 1, "kolours": 1}
    assert clusters_by_distance(counts) == [["colour", "color", "colours"]]
    assert clusters_by_distance(counts, radius=2) == [["colour", "color", "colours", "kolours"]]


@QUICK
@given(
    st.dictionaries(st.text(max_size=8), st.integers(1, 9), max_size=20),
    st.sampled_from([clusters_by_key, clusters_by_distance]),
)
def test_clusters_are_a_partition_led_by_the_most_frequent(counts, cluster):
    groups = cluster(counts)
    values = [value for group in groups for value in group]
    assert len(values) == len(set(values)) and set(values) <= set(counts)
    assert all(counts[group[0]] == max(counts[value] for value in group) and len(group) > 1 for group in groups)
    assert cluster(dict(reversed(counts.items()))) == groups


def test_labels_become_their_most_frequent_spelling():
    labels = ["Sport"] * 5 + ["sport "] * 2 + ["SPORT!"] + ["Bussiness"] + ["Business"] * 4 + [None, "Q1", "Q2"]
    table = pa.table({"label": labels})
    merged, merges = merge_labels(table, LabelsConfig(merge="fingerprint"))
    assert Counter(merged["label"].to_pylist()) == {
        "Sport": 8,
        "Business": 4,
        "Bussiness": 1,
        None: 1,
        "Q1": 1,
        "Q2": 1,
    }
    assert [(merge.label, merge.spellings) for merge in merges] == [("Sport", {"SPORT!": 1, "sport ": 2})]
    near, merges = merge_labels(table, LabelsConfig(merge="levenshtein"))
    assert Counter(near["label"].to_pylist())["Business"] == 5 and len(merges) == 2
    assert merge_labels(table, LabelsConfig())[0] is table
    languages = pa.table({"label": ["C", "C#", "C++", "c", "R", "r"]})
    kept = merge_labels(languages, LabelsConfig(merge="levenshtein"))[0]["label"].to_pylist()
    assert kept == ["C", "C#", "C++", "C", "R", "R"]


def test_clean_merges_labels_and_shows_them(tmp_path):
    rows = [
        {"id": f"{n}", "text": f"document number {n} speaks of the {word} and of nothing else", "label": label}
        | {"source": "t", "uri": f"t:{n}", "content_hash": "x", "parents": [], "steps": []}
        for n, (word, label) in enumerate(
            [("sea", "Sea"), ("shore", "Sea"), ("waves", "sea"), ("sky", "Sky"), ("sun", None)]
        )
    ]
    config = CleanConfig(
        labels={"merge": "fingerprint"},
        min_chars=5,
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    raw = documents_table(rows)
    kept, rejected = clean_table(raw, config)
    assert kept["label"].to_pylist() == ["Sea", "Sea", "Sea", "Sky", None] and rejected.num_rows == 0
    assert [("labels" in steps) for steps in kept["steps"].to_pylist()] == [False, False, True, False, False]
    write_table(raw, tmp_path / DOCUMENTS)
    (tmp_path / "out").mkdir()
    summary = clean_documents(tmp_path, tmp_path / "out", config)
    assert summary.bars["Labels merged"] == {"sea → Sea": 1.0}
    assert summary.metrics["labels_changed"] == 1 and summary.metrics["lost_rows"] == 0
