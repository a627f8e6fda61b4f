"""Halves of surrogate pairs in cells: JSON can write them, GREL can cut a pair, and no file of texts can hold them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import EvalError, Value, characters, is_whole
from llm_assets.data.stored import Storing

UNICODE = "unicode"  # why a row is rejected that was read so
NAMED = "half of a surrogate pair in the name of a column"


def without_halves(table: Table) -> tuple[Table, dict[int, str]]:
    """(the table with `?` in the place of each half, as Java writes it, also in names of columns; place of a row -> the
    first column that had one, and where)."""
    columns, found = dict[str, list[Value]](), dict[int, str]()
    for name, cells in table.columns.items():
        whole = name if is_whole(name) else _free(_mended(name), {*table.columns, *columns})
        if not _any(cells):
            columns[whole] = cells
            continue
        mended = list(cells)
        for place, cell in enumerate(cells):
            text = cell.message if isinstance(cell, EvalError) else cell
            if not isinstance(text, str) or is_whole(text):
                continue
            mended[place] = _mended(text)
            try:
                characters(text).encode()
            except UnicodeEncodeError as error:  # two halves that have met again are a character
                found.setdefault(place, f"{whole}: half of a surrogate pair at character {error.start}")
        columns[whole] = mended
    return table.with_columns(columns), found


def _mended(text: str) -> str:
    return characters(text).encode("utf-8", "replace").decode()


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


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
