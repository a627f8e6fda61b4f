"""Operations on multi-valued cells: joined from the rows below, split into them."""

from __future__ import annotations

from collections.abc import Iterator

from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.java import java_split
from llm_assets.data.openrefine.operation import Made, Prepared, operation, pattern_of, row_by_row
from llm_assets.data.openrefine.row import Row
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.text_functions import split_lengths, split_whole
from llm_assets.data.openrefine.values import JAVA_SPACE, Value, characters, is_data, text_of


@operation("multivalued-cell-join")
def join_cells(fields: Fields) -> Prepared:
    """A row goes into the one above that has a key, and stays itself where it holds anything else."""
    column, key, separator = fields.text("columnName"), fields.text("keyColumnName"), fields.text("separator")

    def make(head: Table, rows: Iterator[Row]) -> tuple[list[str], Made]:
        head.column(column)
        head.column(key)
        at, key_at = head.names.index(column), head.names.index(key)

        def joined(first: Row, texts: list[str], rest: list[Row]) -> Made:
            """The rows of one key. texts: of the cells below; rest: rows below that stay."""
            own = first.cells[at]
            text = characters(separator.join([text_of(own), *texts] if is_data(own) else texts))
            yield _with(first, at, text), int(text != own)
            yield from ((row, 0) for row in rest)

        def made() -> Made:
            first: Row | None = None
            below, texts, rest = 0, list[str](), list[Row]()
            for row in rows:
                if first is not None and not is_data(row.cells[key_at]):
                    below += 1
                    texts += [text_of(row.cells[at])] if is_data(row.cells[at]) else []
                    row = _with(row, at, None)
                    rest += [row] if any(map(is_data, row.cells)) else []
                    continue
                if first is not None:
                    yield from joined(first, texts, rest) if below else [(first, 0)]
                first = None
                if is_data(row.cells[key_at]):
                    first, below, texts, rest = row, 0, [], []
                else:
                    yield row, 0
            if first is not None:
                yield from joined(first, texts, rest) if below else [(first, 0)]

        return head.names, made()

    return row_by_row(make)


@operation("multivalued-cell-split")
def split_cells(fields: Fields) -> Prepared:
    """OpenRefine 2 (modes "plain" and "regex") trimmed the pieces; OpenRefine 3 keeps them as they are."""
    column, key = fields.text("columnName"), fields.text("keyColumnName")
    mode = fields.choice("mode", ("separator", "lengths", "plain", "regex"), "separator")
    old = mode in ("plain", "regex")
    lengths = fields.wholes("fieldLengths") if mode == "lengths" else []
    separator = fields.text("separator", "") if mode != "lengths" else ""
    pattern = pattern_of(fields, separator) if mode == "regex" or fields.flag("regex") else None

    def split(text: str) -> list[str]:
        if lengths:
            return split_lengths(text, lengths)
        pieces = java_split(pattern, text) if pattern is not None else split_whole(text, separator)
        return [piece.strip(JAVA_SPACE) for piece in pieces] if old and len(pieces) > 1 else pieces

    def make(head: Table, rows: Iterator[Row]) -> tuple[list[str], Made]:
        head.column(column)
        head.column(key)
        at, key_at = head.names.index(column), head.names.index(key)

        def made() -> Made:
            ahead = next(rows, None)
            while ahead is not None:
                row, ahead = ahead, next(rows, None)
                pieces = split(text_of(row.cells[at])) if is_data(row.cells[at]) else []
                if len(pieces) < 2:
                    yield row, 0
                    continue
                yield _with(row, at, pieces[0]), 1
                for piece in pieces[1:]:
                    free = ahead is not None and not is_data(ahead.cells[at]) and not is_data(ahead.cells[key_at])
                    if ahead is not None and free:
                        below, ahead = ahead, next(rows, None)
                    else:
                        below = Row([None] * len(row.cells))
                    yield _with(below, at, piece), 0

        return head.names, made()

    return row_by_row(make)


def _with(row: Row, at: int, cell: Value) -> Row:
    return row._replace(cells=[*row.cells[:at], cell, *row.cells[at + 1 :]])
