"""Augmentation: what each operation does, what the filters drop, and that only the train split is touched."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from document_tables import banking, random_documents, sms, table
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import read_table, write_table
from llm_assets.data.augment import augment_documents, augment_table
from llm_assets.data.augment.config import AugmentConfig, CutMix, Edit, FilterConfig, SynonymsConfig
from llm_assets.data.augment.eda import EDITS, augment_text
from llm_assets.data.augment.filters import LabelCheck, drop_copies, word_change
from llm_assets.data.augment.thesaurus import shipped, synonyms
from llm_assets.data.spans import span_mix
from llm_assets.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ANY = FilterConfig(keep_label=False)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(EDITS)), st.integers(0, 99), st.floats(0.05, 0.5))
def test_edits_do_what_they_say(operation: str, seed: int, alpha: float) -> None:
    text = "Return the first value of a large array, and check every error before the end."
    changed = augment_text(text, operation, alpha, random.Random(seed))  # type: ignore[arg-type]
    assert changed == augment_text(text, operation, alpha, random.Random(seed))  # type: ignore[arg-type]
    if changed is None:
        assert operation == "swap"  # two equal words, or back again
        return
    before, after = text.split(), changed.split()
    count = max(1, round(alpha * len(before)))
    if operation == "swap":
        assert Counter(before) == Counter(after)
    elif operation == "delete":
        assert len(after) == len(before) - count
        assert not Counter(after) - Counter(before)
    elif operation == "insert":
        assert len(before) < len(after) <= len(before) + count
        assert not Counter(before) - Counter(after)
    else:
        assert len(after) == len(before)
        assert 1 <= sum(a != b for a, b in zip(before, after, strict=True)) <= count


@settings(max_examples=200, deadline=None)
@given(st.lists(words), st.lists(words), st.floats(0, 1), st.integers(0, 9))
def test_span_mix_counts_the_words_it_kept(one: list[str], other: list[str], share: float, seed: int) -> None:
    mixed, kept = span_mix(" ".join(one), " ".join(other), share, random.Random(seed))
    first, second, result = " ".join(one).split(), " ".join(other).split(), mixed.split()
    assert not Counter(result) - Counter(first) - Counter(second)
    assert len(result) == len(first)
    if kept < 1:
        assert sum((Counter(result) & Counter(first)).values()) >= round(kept * len(first)) >= 1
    else:
        assert result == first


def test_shipped_thesaurus_is_symmetric() -> None:
    known = synonyms()
    assert len(known) > 700
    assert all(word in known[other] for word, others in known.items() for other in others)
    assert shipped("zzz") == ()


def test_copies_keep_label_and_name_their_parent() -> None:
    documents = random_documents({"a": 60, "b": 20})
    config = AugmentConfig(share=0.5, copies=2)
    made, counts = augment_table(documents, config, seed=3)
    assert made.equals(augment_table(documents, config, seed=3)[0])
    assert not made.equals(augment_table(documents, config, seed=4)[0])
    rows = {row["id"]: row for row in made.to_pylist()}
    assert len(rows) == made.num_rows > documents.num_rows
    added = [row for row in rows.values() if row["parents"]]
    for row in added:
        parent = rows[row["parents"][0]]
        assert (row["label"], row["licence"], row["split"]) == (parent["label"], parent["licence"], "train")
        assert row["text"] != parent["text"]
        assert row["steps"][-1] in EDITS
    dropped = counts["dropped_copies"] + counts["dropped_changed_label"]
    assert len(added) == sum(counts[f"made_{name}"] for name in EDITS) - dropped
    # A row is edited alike whatever is beside it.
    alone = augment_table(documents.slice(0, 10), config, seed=3)[0].to_pylist()
    assert {row["id"] for row in alone} <= set(rows)


def test_every_operation_has_its_own_alpha_and_n() -> None:
    operations = [Edit(kind="delete", alpha=0.5, n=2), Edit(kind="swap", alpha=0.0), Edit(kind="insert")]
    made, counts = augment_table(
        random_documents({"a": 30, "b": 30}),
        AugmentConfig(operations=operations, share=1, copies=None, filters=ANY),
        seed=1,
    )
    assert (counts["made_delete"], counts.get("made_swap", 0), counts["made_insert"]) == (120, 0, 60)
    texts = {row["id"]: row["text"].split() for row in made.to_pylist()}
    for row in made.to_pylist():
        if row["steps"] == ["delete"]:
            assert len(texts[row["id"]]) == len(texts[row["parents"][0]]) / 2


def test_held_out_rows_are_not_augmented() -> None:
    made, counts = augment_table(random_documents({"a": 9}, split="test"), AugmentConfig(share=1))
    assert made.num_rows == 0
    assert not any(counts.values())


def test_a_soft_label_is_two_weighted_rows_of_one_text() -> None:
    documents = random_documents({"a": 30, "b": 20})
    config = AugmentConfig(operations=[CutMix()], share=1, filters=ANY)
    made, counts = augment_table(documents, config, seed=2)
    parents = {row["id"]: row for row in documents.to_pylist()}
    added = made.slice(50).to_pylist()
    assert made.schema == documents.schema
    assert len(added) == counts["made_cutmix"] == 100
    for first, second in zip(added[::2], added[1::2], strict=True):
        one, other = (parents[name] for name in first["parents"])
        assert first["text"] == second["text"] and first["id"] != second["id"]
        assert first["parents"] == second["parents"]
        assert (first["label"], second["label"]) == (one["label"], other["label"])
        assert first["weight"] + second["weight"] == pytest.approx(1)
        kept = sum((Counter(first["text"].split()) & Counter(one["text"].split())).values())
        assert kept >= round(first["weight"] * len(one["text"].split()))


def test_a_copy_that_is_a_held_out_text_is_dropped() -> None:
    train, test = table([("one two", "a")] * 8), table([("one", "a"), ("two", "a")], split="test")
    config = AugmentConfig(operations=[Edit(kind="delete", alpha=0.5)], share=1, filters=ANY)
    made, counts = augment_table(pa.concat_tables([train, test]), config)
    assert (made.num_rows, counts["dropped_held_out"]) == (8, 8)


def test_one_label_cannot_be_mixed() -> None:
    config = AugmentConfig(operations=[CutMix()], share=1)
    assert augment_table(random_documents({"a": 8}), config)[0].num_rows == 8


def test_copies_of_the_parent_are_dropped() -> None:
    rows = [{"text": text, "parents": ["p"]} for text in ("Hello,  WORLD", "hello there world", "other text")]
    kept, dropped = drop_copies(rows, {"p": "hello world!"}, 0.0)
    assert [row["text"] for row in kept] == ["hello there world", "other text"]
    assert [(row["text"], parent) for row, parent in dropped] == [("Hello,  WORLD", "p")]
    assert len(drop_copies(rows, {"p": "hello world!"}, 0.5)[1]) == 2
    assert word_change("a b c d", "a b c x") == 0.25


def test_rows_that_changed_their_label_are_dropped(real_data) -> None:
    pairs = [pair for pair in banking(real_data) if pair[1] in ("exchange_rate", "card_arrival", "age_limit")]
    train = table(pairs)
    check = LabelCheck(pairs, FilterConfig(), seed=1)
    parent = next(row for row in train.to_pylist() if row["text"] == "I am still waiting on my card?")
    made = [
        {"id": "kept", "text": "I still wait on my card", "label": "card_arrival", "parents": [parent["id"]]},
        {"id": "gone", "text": "what is the exchange rate?", "label": "card_arrival", "parents": [parent["id"]]},
        {"id": "soft", "text": "what is the exchange rate?", "label": "card_arrival", "parents": [parent["id"], "x"]},
    ]
    kept, dropped = check.drop_changed(made, {parent["id"]: parent["text"]})
    assert [row["id"] for row in kept] == ["kept", "soft"]
    assert [(row["id"], label) for row, label in dropped] == [("gone", "exchange_rate")]


def test_real_messages_keep_their_labels_and_splits(real_data, tmp_path) -> None:
    pairs = list(dict(sms(real_data)).items())[:1200]  # each message once
    train, test = table(pairs[:1000]), table(pairs[1000:], split="test")
    test = test.set_column(0, test.schema.field("id"), pa.array([f"t{at}" for at in range(test.num_rows)]))
    write_table(pa.concat_tables([train, test]), tmp_path / "documents.parquet")
    (tmp_path / "out").mkdir()
    operations = [Edit(kind="synonym", alpha=0.2), Edit(kind="delete", alpha=0.3), CutMix()]
    config = AugmentConfig(operations=operations, share=1, copies=None)
    summary = augment_documents(tmp_path, tmp_path / "out", config, seed=7)
    assert summary.metrics["orphans"] == summary.metrics["held_out_texts"] == 0
    assert summary.metrics["train_rows"] == 1000
    assert summary.metrics["dropped_copies"] > 0  # messages of few words, of which a mark was left out
    assert 0 < summary.metrics["dropped_changed_label"] < 100
    rejected = {"rejected: copy_of_parent", "rejected: changed_label"}
    assert {sample["operation"] for sample in summary.samples} - rejected == {"synonym", "delete", "cutmix"}
    assert summary.metrics["lost_rows"] == 0
    dropped = read_table(tmp_path / "out" / "rejected.parquet")
    assert dropped.num_rows == summary.metrics["rejected"] > 0
    assert set(dropped["reason"].to_pylist()) == {"copy_of_parent", "changed_label"}


def wordnet_lines(folder: Path) -> Path:
    """A database of one synset a part of speech, written as wndb(5WN) says."""
    words = {"noun": ["couch", "sofa", "day_bed"], "verb": ["begin", "start", "halt"], "adj": ["big", "large(a)"],
             "adv": ["soon", "shortly"]}  # fmt: skip
    folder.mkdir()
    for part, members in words.items():
        head = "  1 This line is the licence's.  \n"
        fields = " ".join(f"{word} 0" for word in members)
        data = f"{len(head):08d} 00 {part[0]} {len(members):02x} {fields} 000 | a gloss  \n"
        (folder / f"data.{part}").write_text(head + data, encoding="ascii")
        names = sorted(word.partition("(")[0] for word in members)
        index = "".join(f"{name} {part[0]} 1 0 1 1 {len(head):08d}  \n" for name in names)
        (folder / f"index.{part}").write_text(head + index, encoding="ascii")
        (folder / f"{part}.exc").write_text("began begin\n" if part == "verb" else "", encoding="ascii")
    return folder


def test_wordnet_gives_single_words_inflected_like_the_one_replaced(tmp_path) -> None:
    from llm_assets.data.augment.wordnet import WordNet

    lookup = WordNet(wordnet_lines(tmp_path / "wn"))
    assert lookup("couch") == ["sofa"]
    assert lookup("sofas") == ["couches"]
    assert lookup("starting") == ["halting"]  # "begin" is irregular: it is left out
    assert lookup("began") == []
    assert lookup("big") == ["large"]
    assert lookup("day_bed") == lookup("unknown") == lookup("the") == []


@pytest.mark.parametrize("damage", ["missing", "offset", "index", "long"])
def test_a_damaged_database_is_an_error_that_names_the_file(tmp_path, damage) -> None:
    from llm_assets.data.augment.wordnet import WordNet

    folder = wordnet_lines(tmp_path / "wn")
    if damage == "missing":
        (folder / "data.adv").unlink()
    elif damage == "offset":
        (folder / "data.noun").write_bytes((folder / "data.noun").read_bytes()[10:])
    elif damage == "index":
        (folder / "index.noun").write_text("couch n x\n")
    else:
        (folder / "index.noun").write_bytes(b"x" * 200_000)
    with pytest.raises(UserError, match="adv" if damage == "missing" else "noun"):
        WordNet(folder)("couch")


def test_debians_wordnet(tmp_path) -> None:
    folder = Path("/usr/share/wordnet")
    if not (folder / "index.noun").is_file():
        pytest.skip(f"no WordNet in {folder}: apt-get install wordnet-base")
    from llm_assets.data.augment.wordnet import open_wordnet

    lookup = open_wordnet(folder, 1)
    assert lookup("buying") == ["purchasing"]
    assert "rapidly" in lookup("quickly")
    config = AugmentConfig(
        operations=[Edit(kind="synonym")], share=1, synonyms=SynonymsConfig(wordnet=str(folder)), filters=ANY
    )
    pairs = [("They are buying a couch quickly and loudly", "a"), ("She will finish the huge task", "b")] * 5
    assert augment_table(table(pairs), config)[1]["made_synonym"] == 10


def augmented_digest(folder: Path) -> str:
    """The hash of what edits and mixing make of one table."""
    write_table(random_documents({"a": 90, "b": 40}), folder / "documents.parquet")
    config = AugmentConfig(operations=[Edit(kind="synonym"), Edit(kind="delete"), CutMix()], share=0.7, copies=None)
    augment_documents(folder, folder, config, seed=7)
    return hashlib.sha256((folder / "documents.parquet").read_bytes()).hexdigest()


def test_equal_inputs_give_equal_bytes_in_another_process(tmp_path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pathlib, test_augment; "
    code += f"print(test_augment.augmented_digest(pathlib.Path({str(tmp_path / 'there')!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == augmented_digest(tmp_path / "here")


def test_texts_without_words_are_not_judged_by_their_words():
    check = LabelCheck([("1", "a"), ("?", "b")], FilterConfig(), 7)
    made = [{"id": "x", "text": "2", "label": "a", "parents": ["p"]}]
    assert check.drop_changed(made, {"p": "1"}) == (made, [])
