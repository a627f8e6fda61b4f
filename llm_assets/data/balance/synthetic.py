"""SMOTE over any number of rows: their points wait on disk, and are worked on a piece at a time, on all cores.

The neighbours of a row are looked for among at most `TOGETHER` rows of its group that lie where it lies: the group is
cut in two, and these again, across the direction in which its points differ most (a k-d tree, Bentley 1975, along
principal directions as in Sproull 1991).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llm_assets.data.balance.smote import nearest_two, smote_features
from llm_assets.data.executor import in_order
from llm_assets.data.features import TextFeatures
from llm_assets.data.reread import batches_at

if TYPE_CHECKING:
    from llm_assets.data.reread import Documents

TOGETHER = 20_000  # rows of a group among which neighbours are looked for: a linear cost, where all would be quadratic
MADE = 50_000  # points that are made together


class Points(NamedTuple):
    """path: a file of float64 of this shape, one row behind the other."""

    path: Path
    shape: tuple[int, int]

    def at(self, places: np.ndarray) -> np.ndarray:
        """float64 [places, shape[1]]; nothing of the file stays mapped."""
        return np.asarray(np.memmap(self.path, dtype=np.float64, mode="r", shape=self.shape)[places])


class Piece(NamedTuple):
    """places: int64, ascending, points of one group; points: how many are made between them; seed: of the draw."""

    places: np.ndarray
    points: int
    seed: int


def synthetic_rows(
    documents: Documents,
    groups: Mapping[str, np.ndarray],
    more: Mapping[str, int],
    features: TextFeatures,
    neighbours: int,
    seed: int,
    workers: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each synthetic point (the row nearest to it int64, the second nearest or the same int64, the share of the
    first float64), as many of each group as `more` says.

    groups: ascending row numbers. Points lie between rows of one part of a group. The same for any number of workers.
    """
    numbers = np.sort(np.concatenate([groups[name] for name in more]))
    with tempfile.TemporaryDirectory(prefix="llm-assets-smote-") as folder:
        path = Path(folder) / "points"
        width = _write_points(documents, numbers, features, path, workers)
        points = Points(path, (len(numbers), width))
        work = partial(points_between, points=points, neighbours=neighbours)
        every = (
            piece
            for name, count in more.items()
            for piece in pieces(points, np.searchsorted(numbers, groups[name]), count, seed)
        )
        found = list(in_order(work, every, workers))
    first, second, share = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return numbers[first], numbers[second], share


def pieces(points: Points, places: np.ndarray, count: int, seed: int) -> Iterator[Piece]:
    """What is done together for the points of one group, of which `count` more are to be made."""
    end = number = 0
    for part in near_parts(points, places):
        begin, end = end, end + len(part)
        own = count * end // len(places) - count * begin // len(places)
        for first in range(0, own, MADE):
            yield Piece(part, min(MADE, own - first), seed + number)
            number += 1


def near_parts(points: Points, places: np.ndarray) -> Iterator[np.ndarray]:
    """`places` (ascending) in parts of at most `TOGETHER`, about equal in size, of points that lie near each other."""
    if len(places) <= TOGETHER:
        yield places
        return
    for half in _halves(points, places):
        yield from near_parts(points, half)


def _halves(points: Points, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers a place are held, and as many points as a part may have."""
    from threadpoolctl import threadpool_limits

    parts = -(-len(places) // TOGETHER)
    with threadpool_limits(1):
        sample = points.at(places[::parts])
        sample -= sample.mean(axis=0)
        direction = np.linalg.eigh(sample.T @ sample)[1][:, -1]
        blocks = (places[first : first + TOGETHER] for first in range(0, len(places), TOGETHER))
        along = np.concatenate([points.at(block) @ direction for block in blocks])
    order = np.argsort(along, kind="stable")
    middle = len(places) * (parts // 2) // parts
    return places[np.sort(order[:middle])], places[np.sort(order[middle:])]


def points_between(piece: Piece, points: Points, neighbours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two places nearest to each point that is made, and the share of the first."""
    real = points.at(piece.places)
    here = len(real)
    with_another = np.concatenate([real, np.zeros((1, real.shape[1]))])  # SMOTE wants two classes
    labels = ["here"] * here + ["other"]
    made, _ = smote_features(with_another, labels, {"here": here + piece.points}, neighbours, piece.seed)
    first, second, share = nearest_two(real, made[here + 1 :])
    return piece.places[first], piece.places[second], share


def _write_points(documents: Documents, numbers: np.ndarray, features: TextFeatures, path: Path, workers: int) -> int:
    """The features of these rows, one row behind the other; their width."""
    texts = (
        [text or "" for text in batch["text"].to_pylist()]
        for batch in batches_at(documents, numbers, ["text"])
        if batch.num_rows
    )
    width = 0
    with path.open("wb") as out:
        for points in in_order(partial(_points, features), texts, workers):
            points.tofile(out)
            width = points.shape[1]
    return width


def _points(features: TextFeatures, texts: list[str]) -> np.ndarray:
    return np.ascontiguousarray(features.points(texts)[0], dtype=np.float64)
