"""Rows made or left out, so that rare groups count for more."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_assets.data.balance.config import Oversample, Smote, Undersample
from llm_assets.data.balance.factors import group_factors, kept_shares
from llm_assets.data.balance.smote import mixed_text, near_rows, smote_features
from llm_assets.data.features import stable_draw, text_features
from llm_assets.data.rows import document_id, documents_table, joined_licence, text_hash

if TYPE_CHECKING:
    import pyarrow as pa

Groups = Sequence[str | None]


def undersample(
    documents: pa.Table, groups: Groups, masses: Mapping[str, float], config: Undersample, seed: int
) -> pa.Table:
    """The rows that stay: of each group those first by the hash of seed and id. Rows of no group stay."""
    shares, ids = kept_shares(masses, config), documents["id"].to_pylist()
    kept = [place for place, group in enumerate(groups) if group is None]
    for group, rows in places(groups).items():
        order = sorted(rows, key=lambda row: (stable_draw("undersample", seed, ids[row]), ids[row]))
        kept += order[: max(1, round(shares[group] * len(rows)))]
    return documents.take(sorted(kept))


def oversample(
    documents: pa.Table, groups: Groups, masses: Mapping[str, float], config: Oversample, seed: int
) -> pa.Table:
    """Whole repeats first, then a random draw for the fraction, so that no row is repeated twice more than another."""
    factors = group_factors(masses, config)
    drawn: list[tuple[int, int]] = []
    for group, rows in places(groups).items():
        whole, rest = divmod(round(len(rows) * (factors[group] - 1)), len(rows))
        drawn += [(row, copy) for copy in range(whole) for row in rows]
        drawn += [(row, whole) for row in sorted(random.Random(f"{seed}/{group}").sample(rows, rest))]
    return _with_made(documents, [_repeat(_row(documents, row), copy, "repeat") for row, copy in drawn])


def smote(documents: pa.Table, groups: Groups, masses: Mapping[str, float], config: Smote, seed: int) -> pa.Table:
    """A row for each synthetic point of a rare group; see `config.rows`. It names the rows it is made of."""
    factors = group_factors(masses, config)
    inside = [place for place, group in enumerate(groups) if group is not None]
    labels = [str(groups[place]) for place in inside]
    texts = [text or "" for text in documents["text"].take(inside).to_pylist()]
    wanted = {group: round(len(rows) * factors[group]) for group, rows in places(groups).items()}
    points = text_features(texts, config.dimensions, seed)[0]
    more, of = smote_features(points, labels, wanted, config.neighbours, seed)
    found = near_rows(points, labels, more[len(texts) :], of[len(texts) :].tolist())
    made, copies = [], dict.fromkeys(range(len(texts)), 0)
    for near in found:
        row = _row(documents, inside[near.first])
        copy, copies[near.first] = copies[near.first], copies[near.first] + 1
        if config.rows == "nearest_text" or near.first == near.second:
            made.append(_repeat(row, copy, "smote"))
            continue
        text = mixed_text(texts, near, f"{seed}/{row['id']}/{copy}")
        other = _row(documents, inside[near.second])
        made.append(
            _repeat(row, copy, "smote_mix")
            | {
                "text": text,
                "content_hash": text_hash(text),
                "parents": [row["id"], other["id"]],
                "licence": joined_licence(row["licence"], other["licence"]),
                "summary": None,
                "body": None,
            }
        )
    return _with_made(documents, made)


def places(groups: Groups) -> dict[str, list[int]]:
    """Group -> its row numbers, groups by name."""
    found: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        if group is not None:
            found.setdefault(group, []).append(place)
    return dict(sorted(found.items()))


def _row(documents: pa.Table, place: int) -> dict[str, Any]:
    row: dict[str, Any] = documents.slice(place, 1).to_pylist()[0]
    return row


def _repeat(row: dict[str, Any], copy: int, step: str) -> dict[str, Any]:
    uri = f"{row['uri']}+{step}{copy + 1}"
    identity = document_id(row["source"], uri + row["id"])
    return {**row, "id": identity, "uri": uri, "parents": [row["id"]], "steps": [*(row["steps"] or []), step]}


def _with_made(documents: pa.Table, made: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([documents, documents_table(made)]) if made else documents
