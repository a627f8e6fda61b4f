"""Near-equal spellings of labels become one, and what is no label is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING

from llm_assets.data.keyers import clusters_by_distance, clusters_by_key, fingerprint
from llm_assets.data.table_config import LabelsConfig
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

STEP = "labels"
MOST_LABELS = 100_000  # distinct ones, which are held in memory
MOST_COMPARED = 20_000  # whose edit distances are looked at, a cost that is not linear: half a minute


@dataclass(frozen=True)
class LabelMerge:
    """`spellings` (with their rows) became `label`, the most frequent of them."""

    label: str
    spellings: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(self.spellings.values())


def bounded(labels: Collection[object], where: str, most: int | None = None) -> None:
    """Raises UserError where there are more distinct labels than `most`, by default `MOST_LABELS`."""
    most = MOST_LABELS if most is None else most
    if len(labels) > most:
        shown = ", ".join(repr(label[:40]) for label in nsmallest(3, map(str, labels)))
        raise UserError(f"{where}: more than {most:,} distinct labels ({shown} …); a label names a class of rows")


def label_merges(counts: dict[str, int], config: LabelsConfig) -> list[LabelMerge]:
    """What would be merged, largest first. The most frequent spelling stays, then the first in the alphabet.

    Raises UserError for too many labels.
    """
    if config.merge == "none":
        return []
    if config.merge == "levenshtein":
        bounded(counts, "merge: levenshtein", MOST_COMPARED)
    groups = clusters_by_key(counts, _key)
    if config.merge == "levenshtein":  # first equal up to case and punctuation, then near
        heads = {value: group[0] for group in groups for value in group}
        summed: Counter[str] = Counter()
        for value, count in counts.items():
            summed[heads.get(value, value)] += count
        near = {value: group[0] for group in clusters_by_distance(summed, config.radius) for value in group}
        joined: dict[str, list[str]] = {}
        for value in counts:
            head = heads.get(value, value)
            joined.setdefault(near.get(head, head), []).append(value)
        groups = [[head, *(value for value in values if value != head)] for head, values in joined.items()]
        groups = sorted((group for group in groups if len(group) > 1), key=lambda group: group[0])
    merges = [LabelMerge(group[0], {value: counts[value] for value in sorted(group[1:])}) for group in groups]
    return sorted(merges, key=lambda merge: (-merge.rows, merge.label))


def _key(label: str) -> str:
    """The fingerprint; C# is no spelling of C."""
    return fingerprint(label) + "#" * label.count("#")


def merge_labels(table: pa.Table, config: LabelsConfig, column: str = "label") -> tuple[pa.Table, list[LabelMerge]]:
    """(table with one spelling a label, what was merged)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    place = table.schema.get_field_index(column)
    found = pc.value_counts(table[column].combine_chunks().drop_null())
    counts = dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
    bounded(counts, f"column {column!r}")
    merges = label_merges(counts, config)
    if not merges:
        return table, []
    old = pa.array([value for merge in merges for value in merge.spellings], pa.string())
    new = pa.array([merge.label for merge in merges for _ in merge.spellings], pa.string())
    index = pc.index_in(table[column], value_set=old)
    merged = pc.coalesce(pc.take(new, index.combine_chunks()), table[column].combine_chunks())
    table = table.set_column(place, table.schema.field(column), merged)
    return table, merges
