"""A column of any type as texts, which is what its profile counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# A list is counted as one text: its elements joined, with marks for what would else be taken for something different.
BETWEEN = "\x02"
MARKS = {"null": "\x012", "no elements": "\x013", "empty": "\x014"}


def as_text(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """(the column as strings; the number of elements where it holds lists)."""
    import json

    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode())
    if pa.types.is_string(kind):
        return column, None
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()), None
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return _joined(column), pc.list_value_length(column.drop_null()).to_numpy(zero_copy_only=False).astype(float)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = column.to_pylist()
        plain = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
        listed = [float(len(value)) for value in values if isinstance(value, list)]
        return pa.array(plain, pa.string()), np.array(listed) if listed else None
    return column.cast(pa.string()), None


def _joined(lists: pa.Array) -> pa.Array:
    """Each list of strings as one text; different lists are different texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    items = lists.flatten()
    for plain, escaped in (("\x01", "\x010"), (BETWEEN, "\x011")):
        items = pc.replace_substring(items, plain, escaped)
    items = pc.if_else(pc.equal(items, ""), MARKS["empty"], items).fill_null(MARKS["null"])
    lengths = pc.list_value_length(lists)
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False))]), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, items), BETWEEN)
    joined = pc.if_else(pc.equal(lengths.fill_null(1), 0), MARKS["no elements"], joined)
    return pc.if_else(lists.is_null(), pa.scalar(None, pa.string()), joined)


def shown(text: str) -> str:
    """A joined list as people read it."""
    for name, mark in MARKS.items():
        text = text.replace(mark, f"({name})")
    return text.replace(BETWEEN, ", ")
