"""A history as a step of `clean`: over the raw documents, before the rules."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.data.openrefine.files import PART, arrow_part
from llm_assets.data.openrefine.history import ROW_BY_ROW, read_history, replay
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["id", "text", "label", "source", "uri", "licence"]
TAKEN_BACK = ("text", "label")
STEP = "openrefine"


def replay_on_documents(raw: pa.Table, history: Path) -> tuple[pa.Table, list[dict[str, Any]]]:
    """(documents, rejected): `raw` with the texts and labels the history makes, without the rows it removes.

    The history sees the columns id, text, label, source, uri and licence and may make others; text and label are what
    is taken back. Raises UserError for operations that make several rows of one or one of several.
    """
    import pyarrow as pa

    steps = read_history(history, ROW_BY_ROW)
    batches = raw.select(COLUMNS).combine_chunks().to_batches(max_chunksize=PART)
    starts = [sum(batch.num_rows for batch in batches[:n]) for n in range(len(batches))]
    found: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in TAKEN_BACK}
    parts = [arrow_part(batch, start) for batch, start in zip(batches, starts, strict=True)]
    for table in replay(steps, parts) if parts else []:
        found += table.origin
        for name in TAKEN_BACK:
            if name not in table.columns:
                raise UserError(f"the history {history} ends without the column {name!r}, which documents need")
            columns[name] += table.columns[name]
    kept = raw.take(pa.array(found, pa.int64()))
    changed = [False] * len(found)
    for name in TAKEN_BACK:
        before = kept[name].to_pylist()
        after = [None if cell is None else _text(cell) for cell in columns[name]]
        changed = [mark or (a or "") != (b or "") for mark, a, b in zip(changed, after, before, strict=True)]
        kept = kept.set_column(kept.schema.get_field_index(name), kept.schema.field(name), pa.array(after, pa.string()))
    marked = [
        [*(old or []), *([STEP] if mark else [])] for old, mark in zip(kept["steps"].to_pylist(), changed, strict=True)
    ]
    place = kept.schema.get_field_index("steps")
    kept = kept.set_column(place, kept.schema.field("steps"), pa.array(marked, pa.list_(pa.string())))
    gone = sorted(set(range(raw.num_rows)) - set(found))
    removed = raw.take(pa.array(gone, pa.int64())).to_pylist()
    return kept, [{**row, "reason": STEP, "detail": "removed by the operation history"} for row in removed]


def history_state(history: Path) -> str:
    """The hash of a history: part of what cleaned documents are computed from."""
    try:
        return hashlib.sha256(history.read_bytes()).hexdigest()[:24]
    except OSError as error:
        raise UserError(f"data.clean.openrefine: {history} cannot be read ({error.strerror})") from None


def _text(cell: Any) -> str:
    from llm_assets.data.openrefine.values import text_of

    return text_of(cell)
