"""Halves of surrogate pairs in cells: JSON can write them, GREL can cut a pair, and no file of texts can hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import EvalError, Value
from llm_assets.data.stored import Storing

UNICODE = "unicode"  # why a row is rejected that was read so
NAMED = "half of a surrogate pair in the name of a column"


def without_halves(table: Table) -> tuple[Table, dict[int, str]]:
    """(the table with `?` in the place of each half; place of a row -> the first column that had one, and where)."""
    columns, found = dict(table.columns), dict[int, str]()
    for name, cells in table.columns.items():
        if not _any(cells):
            continue
        mended = list(cells)
        for place, cell in enumerate(cells):
            text = cell.message if isinstance(cell, EvalError) else cell
            if not isinstance(text, str):
                continue
            try:
                text.encode()
            except UnicodeEncodeError as error:
                mended[place] = text.encode("utf-8", "replace").decode()
                found.setdefault(place, f"{name}: half of a surrogate pair at character {error.start}")
        columns[name] = mended
    return (table.with_columns(columns), found) if found else (table, found)


def is_whole(text: str) -> bool:
    """Whether UTF-8 can hold it."""
    return not _any([text])


def reject_halves(gone: Storing, reason: str, numbers: Sequence[int], details: Sequence[str]) -> None:
    """Tell `gone` (columns `reason` and `detail`) of these rows."""
    import pyarrow as pa

    said = [pa.array([reason] * len(details), pa.string()), pa.array(details, pa.string())]
    gone.add(np.array(numbers, dtype=np.int64), pa.record_batch(said, names=["reason", "detail"]))


def _any(cells: Sequence[Value]) -> bool:
    try:
        try:
            "".join(filter(None, cells)).encode()  # type: ignore[arg-type]
        except TypeError:  # not all are texts
            texts = (cell.message if isinstance(cell, EvalError) else cell for cell in cells)
            "".join(text for text in texts if isinstance(text, str)).encode()
    except UnicodeEncodeError:
        return True
    return False
