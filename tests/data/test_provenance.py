"""Provenance of a row, and the data card: over documents that went through every stage."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from llm_assets.artifacts import DOCUMENTS, read_table, write_table
from llm_assets.data.augment import augment_documents
from llm_assets.data.balance import balance_documents
from llm_assets.data.balance.config import Oversample, Undersample
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import AugmentConfig, CardConfig, CleanConfig, DataConfig, InstalledPackages
from llm_assets.data.profile import profile_documents
from llm_assets.data.provenance import STAGES, broken_steps, row_chain, row_chains
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.errors import UserError

SENTENCE = "return first value large array check every error before start build list number show make file"
WORDS = SENTENCE.split()


def raw_rows() -> list[dict[str, object]]:
    rows = []
    for n in range(240):
        label = "rare" if n % 12 == 0 else "<b>often</b>|x"
        words = [WORDS[(n * step + step) % len(WORDS)] for step in (1, 3, 5, 7, 11, 2)]
        text = f"Please  {' '.join(words)} and write item{n} <i>to</i> the place{n * 7} of user{n * 13}@example.org"
        rows.append(
            {
                "id": text_hash(f"row {n}"), "text": "short" if n % 20 == 0 else text, "label": label,
                "source": "files", "uri": f"file://a.csv#{n}",
                "licence": "MIT" if n % 2 else "unknown", "content_hash": text_hash(text),
                "parents": [], "steps": [],
            }
        )  # fmt: skip
    rows.append({**rows[5], "id": text_hash("again"), "uri": "file://b.csv#1"})
    return rows


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every stage's folder; rows are repeated, so some are made from rows that were made."""
    root = tmp_path_factory.mktemp("stages")
    folders = {name: root / name for name in STAGES}
    for folder in folders.values():
        folder.mkdir()
    raw, cleaned, augmented, balanced = folders.values()
    write_table(documents_table(raw_rows()), raw / DOCUMENTS)
    clean_documents(raw, cleaned, CleanConfig())
    augment_documents(cleaned, augmented, AugmentConfig(share=0.6, copies=2))
    balance_documents(augmented, balanced, Oversample(power=1))
    return folders


def test_every_training_row_leads_back_to_its_source(stages: dict[str, Path]) -> None:
    rows = read_table(stages["balanced_documents"] / DOCUMENTS).to_pylist()
    raw = {row["id"]: row for row in raw_rows()}
    chains = row_chains(stages, [row["id"] for row in rows])
    assert len(chains) == len(rows) > 200
    for row in rows:
        chain = chains[row["id"]]
        assert not chain.missing
        assert (chain.links[-1].stage, chain.links[-1].id) == ("balanced_documents", row["id"])
        assert list(chain.steps) == row["steps"]  # nothing is told twice and nothing is left out
        (origin,) = chain.origins
        assert raw[origin.id]["uri"] == origin.uri and origin.licence == raw[origin.id]["licence"]
        assert row["uri"].startswith(origin.uri)


def test_a_repeat_of_an_augmented_row_names_both_generations(stages: dict[str, Path]) -> None:
    augmented = read_table(stages["augmented_documents"] / DOCUMENTS).to_pylist()
    made = {row["id"]: row["parents"] for row in augmented if row["parents"]}
    balanced = read_table(stages["balanced_documents"] / DOCUMENTS).to_pylist()
    repeat = next(row for row in balanced if row["steps"][-1] == "repeat" and row["parents"][0] in made)
    chain = row_chain(stages, repeat["id"])
    told = [(link.stage, link.made_from) for link in chain.links]
    parent, original = repeat["parents"][0], made[repeat["parents"][0]][0]
    assert told[0] == ("raw_documents", ()) and told[1] == ("cleaned_documents", (original,))
    assert ("augmented_documents", (original,)) in told and told[-1] == ("balanced_documents", (parent,))
    assert chain.links[-1].steps == ("repeat",) and chain.links[1].steps == ("markup", "space")


def test_rejected_and_held_out_rows_have_chains_too(stages: dict[str, Path]) -> None:
    short = row_chain(stages, text_hash("row 20"))
    assert [link.reason for link in short.links] == [None, "too_short"]
    cleaned = read_table(stages["cleaned_documents"] / DOCUMENTS).to_pylist()
    held_out = next(row["id"] for row in cleaned if row["split"] == "test")
    assert [link.stage for link in row_chain(stages, held_out).links] == ["raw_documents", "cleaned_documents"]
    with pytest.raises(UserError, match="no document has the id 'nobody'"):
        row_chain(stages, "nobody")


def test_what_later_stages_leave_out_has_a_chain_too(stages: dict[str, Path], tmp_path: Path) -> None:
    """A copy that was dropped again names its parent; a row left out by undersampling is told where it went."""
    folders = {**stages, "augmented_documents": tmp_path / "augmented", "balanced_documents": tmp_path / "balanced"}
    for stage in STAGES[2:]:
        folders[stage].mkdir()
    config = AugmentConfig(share=1, operations=["delete"], alpha=0.05, filters={"min_change": 0.2})
    augment_documents(stages["cleaned_documents"], folders["augmented_documents"], config)
    balance_documents(folders["augmented_documents"], folders["balanced_documents"], Undersample(power=1))
    (dropped, *_) = read_table(folders["augmented_documents"] / "rejected.parquet").to_pylist()
    chain = row_chain(folders, dropped["id"])
    assert [link.stage for link in chain.links] == [*STAGES[:3], "augmented_documents"] and not chain.missing
    assert (chain.links[-1].id, chain.links[-1].reason) == (dropped["id"], "copy_of_parent")
    assert chain.links[-1].made_from == (chain.links[-2].id,) == (dropped["parents"][0],)
    (left_out, *_) = read_table(folders["balanced_documents"] / "rejected.parquet").to_pylist()
    chain = row_chain(folders, left_out["id"])
    assert [link.stage for link in chain.links] == list(STAGES)
    assert [link.reason for link in chain.links] == [None, None, None, "undersampled"] and not chain.missing


def test_steps_are_complete_and_a_hole_is_found(stages: dict[str, Path], tmp_path: Path) -> None:
    assert broken_steps(stages) == dict.fromkeys(STAGES[1:], 0)
    table = read_table(stages["cleaned_documents"] / DOCUMENTS)
    steps = pa.array([[] if n < 3 else row for n, row in enumerate(table["steps"].to_pylist())], pa.list_(pa.string()))
    write_table(
        table.set_column(table.schema.get_field_index("steps"), table.schema.field("steps"), steps),
        tmp_path / DOCUMENTS,
    )
    assert broken_steps({**stages, "cleaned_documents": tmp_path})["cleaned_documents"] == 3


def test_the_card_says_what_is_in_the_data(stages: dict[str, Path], tmp_path: Path) -> None:
    data = DataConfig(sources=[InstalledPackages(packages=[])], card=CardConfig(intended_use="Routing of <tickets>."))
    summaries = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        summaries.append(profile_documents(stages, tmp_path / name, data=data, name="tickets"))
    for file in ("report.json", "report.html", "data_card.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    card = (tmp_path / "one" / "data_card.md").read_text()
    cleaned = read_table(stages["cleaned_documents"] / DOCUMENTS)
    balanced = read_table(stages["balanced_documents"] / DOCUMENTS)
    assert "Routing of &lt;tickets&gt;." in card and "<b>" not in card
    assert f"| cleaned\\_documents | {cleaned.num_rows:,} | 2 |" in card
    assert "| cleaning | too\\_short | 12 |" in card and "| cleaning | exact\\_duplicate | 1 |" in card
    dropped = read_table(stages["augmented_documents"] / "rejected.parquet")["reason"].to_pylist()
    assert all(
        f"| augmentation | {name} | {dropped.count(name)} |" in card.replace("\\_", "_") for name in set(dropped)
    )
    assert f"of the {balanced.num_rows:,} training rows" in card
    assert "the licence is not known" in card and "imbalance" in card and "| en |" in card
    sections = {item["title"]: item for item in json.loads((tmp_path / "one" / "report.json").read_text())["card"]}
    counts = {row[0]: row[1] for row in sections["Splits"]["tables"][0]["rows"]}
    assert sum(counts.values()) == cleaned.num_rows
    shares = [row[3] for row in sections["Labels"]["tables"][0]["rows"]]
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=0.2)
    metrics = summaries[0].metrics
    assert {
        metrics[name] for name in ("lost_rows", "split_overlap", "held_out_in_train", "orphans", "broken_steps")
    } == {0}
    assert metrics["mismatched_share"] == 0
    assert summaries[0].shares["Quality, raw_documents"]["text"]["valid"] == 241
