"""SMOTE of any number of rows: imbalanced-learn's points, by pieces, in bounded memory and at a linear cost."""

from __future__ import annotations

import random
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from document_tables import banking, captions, table

from llm_assets.artifacts import write_table
from llm_assets.data.balance import balance_documents, synthetic
from llm_assets.data.balance import plan as plan_module
from llm_assets.data.balance.config import Smote
from llm_assets.data.balance.smote import nearest_two, smote_features
from llm_assets.data.balance.synthetic import Points, near_parts, pieces, points_between, synthetic_rows
from llm_assets.data.features import fit_features


def test_points_are_those_of_all_groups_at_once(real_data: Path) -> None:
    """What imbalanced-learn makes of the whole table, each point with its nearest real texts, whatever the group."""
    pairs = [pair for pair in banking(real_data) if pair[1] in ("card_arrival", "card_linking", "age_limit")]
    pairs = random.Random(4).sample(pairs, 260)
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    features = fit_features(texts, 20, 3)
    groups = {name: np.flatnonzero(np.array(labels) == name) for name in sorted(set(labels))}
    assert len(groups) == 3 and len({len(rows) for rows in groups.values()}) == 3
    more = {name: 2 * len(rows) + 1 for name, rows in groups.items()}
    found = synthetic_rows(table(pairs), groups, more, features, 4, 7, 1)
    points = features.points(texts)[0]
    wanted = {name: more[name] + len(rows) for name, rows in groups.items()}
    made, of = smote_features(points, labels, wanted, 4, 7)
    expected = []
    for name, rows in groups.items():
        first, second, share = nearest_two(points[rows], made[260:][of[260:] == name])
        expected.append((rows[first], rows[second], share))
    for side, all_of_it in zip(found, zip(*expected, strict=True), strict=True):
        assert np.array_equal(side, np.concatenate(all_of_it))


def test_the_nearest_of_all_points_come_first() -> None:
    drawn = np.random.default_rng(1)
    points, others = drawn.normal(size=(30, 3)), drawn.normal(size=(50, 3))
    first, second, share = nearest_two(points, others)
    distances = np.linalg.norm(others[:, None] - points, axis=2)
    order = np.argsort(distances, axis=1)
    assert np.array_equal(first, order[:, 0]) and np.array_equal(second, order[:, 1])
    near, far = np.sort(distances, axis=1)[:, :2].T
    assert np.allclose(share, far / (near + far)) and (share >= 0.5).all()
    assert [side.tolist() for side in nearest_two(points[:1], points[:2])] == [[0, 0], [0, 0], [0.5, 0.5]]


def test_one_process_and_several_give_the_same_bytes(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of several pieces, and others of one."""
    monkeypatch.setattr(synthetic, "TOGETHER", 50)
    monkeypatch.setattr(synthetic, "MADE", 40)
    pairs = banking(real_data)
    names = {"card_arrival": 200, "card_linking": 130, "age_limit": 12, "exchange_rate": 1}
    kept = [pair for name, most in names.items() for pair in [one for one in pairs if one[1] == name][:most]]
    write_table(table(kept), tmp_path / "documents.parquet")
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        summary = balance_documents(tmp_path, out, Smote(rows="span_mix", max_factor=20), 3, workers=workers)
        assert summary.metrics["lost_rows"] == 0
        found.append((out / "documents.parquet").read_bytes())
    assert found[0] == found[1]


def test_processes_start_for_many_rows_alone(real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def in_order(work, items, workers):
        asked.append(workers)
        return map(work, items)

    monkeypatch.setattr(synthetic, "in_order", in_order)
    write_table(table([("one text", "a")] * 9 + [("another", "b")] * 3), tmp_path / "documents.parquet")
    for alone in (9, 8):
        monkeypatch.setattr(plan_module, "ALONE_ROWS", alone)
        (tmp_path / str(alone)).mkdir()
        balance_documents(tmp_path, tmp_path / str(alone), Smote())
    assert asked == [1, 1, plan_module.cores(), plan_module.cores()]


def stored(points: np.ndarray, folder: Path) -> Points:
    path = folder / f"points{len(points)}"
    points.tofile(path)
    return Points(path, points.shape)


@pytest.mark.parametrize("rows", [1, 7, 400, 1601])
def test_pieces_are_all_of_a_group_and_their_cost_is_linear(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "TOGETHER", 100)
    monkeypatch.setattr(synthetic, "MADE", 150)
    points = stored(np.random.default_rng(5).integers(0, 3, size=(3 * rows, 2)).astype(np.float64), tmp_path)
    places = np.arange(rows) * 3
    found = list(pieces(points, places, 5 * rows, 11))
    assert sum(piece.points for piece in found) == 5 * rows
    distinct = {piece.places.tobytes(): piece.places for piece in found}.values()
    assert np.array_equal(np.sort(np.concatenate(list(distinct))), places)
    assert all((np.diff(piece.places) > 0).all() and piece.points <= 150 for piece in found)
    assert max(map(len, distinct)) <= min(map(len, distinct)) + 2 <= 102
    assert len({piece.seed for piece in found}) == len(found) and found[0].seed == 11
    compared = sum(len(piece.places) * (len(piece.places) + piece.points) for piece in found)
    assert compared <= rows * 100 * (5 + 4)  # a piece looks for neighbours and for what is near its points


def test_neighbours_are_in_the_same_part(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the five nearest of 8,000 real texts two thirds are in the same of 8 parts: chance gives an eighth."""
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(synthetic, "TOGETHER", 1000)
    texts = captions(real_data, "train.en")[:8000]
    features = fit_features(texts[:2000], 64, 0).points(texts)[0]
    part = np.empty(len(texts), dtype=np.int64)
    for number, places in enumerate(near_parts(stored(features, tmp_path), np.arange(len(texts)))):
        part[places] = number
    assert part.max() == 7
    asked = np.arange(0, len(texts), 10)
    _, near = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(features).kneighbors(features[asked])
    recall = (part[near[:, 1:]] == part[asked, None]).mean()
    assert recall > 0.6, recall


def test_memory_does_not_grow_with_the_rows_of_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of four times the rows, 8 MB more, lie on disk; 24 bytes a row and as many a point are what is held."""
    monkeypatch.setattr(synthetic, "TOGETHER", 500)
    monkeypatch.setattr(synthetic, "MADE", 500)
    peaks = []
    for rows in (2_000, 8_000):
        points = stored(np.random.default_rng(2).normal(size=(rows, 64)), tmp_path)
        work = partial(points_between, points=points, neighbours=5)
        work(next(iter(pieces(points, np.arange(rows), 10, 1))))  # what is imported is held for good
        tracemalloc.start()
        found = [work(piece) for piece in pieces(points, np.arange(rows), 2 * rows, 1)]
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(len(first) for first, _, _ in found) == 2 * rows and held < 200 * rows
        peaks.append(peak - held)
    assert peaks[1] < 1.3 * peaks[0] + 2**18, peaks


def test_texts_without_words_are_repeated() -> None:
    wordless = table([("the and of", "a")] * 8 + [("of the", "b")] * 2)
    features = fit_features(["the and of"], 8, 0)
    groups = {"b": np.array([8, 9])}
    first, _, _ = synthetic_rows(wordless, groups, {"b": 6}, features, 5, 0, 1)
    assert len(first) == 6 and set(first.tolist()) <= {8, 9}
