"""Operations on cells: transform, mass edit, fill down, blank down, join and split multi-valued cells."""

from __future__ import annotations

from datetime import datetime

from llm_assets.data.openrefine.dates import parse_free
from llm_assets.data.openrefine.evaluate import Expression
from llm_assets.data.openrefine.facets import Engine, engine_of, evaluate_column
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.java import java_split
from llm_assets.data.openrefine.operation import Needs, Prepared, expression_of, operation, pattern_of
from llm_assets.data.openrefine.table import Bound, Table, from_rows
from llm_assets.data.openrefine.text_functions import split_lengths, split_whole
from llm_assets.data.openrefine.values import JAVA_SPACE, EvalError, Value, is_data, same, storable, text_of

ON_ERROR = ("keep-original", "set-to-blank", "store-error")


def needs(engine: Engine, *expressions: Expression) -> Needs:
    records = engine.needs_records or any(expression.needs_records for expression in expressions)
    return "records" if records else "rows"


@operation("text-transform")
def text_transform(fields: Fields) -> Prepared:
    engine, expression, column = engine_of(fields), expression_of(fields), fields.text("columnName")
    on_error = fields.choice("onError", ON_ERROR, "keep-original")
    turns = fields.whole("repeatCount", 10) if fields.flag("repeat") else 0

    def again(bound: Bound, place: int, value: Value) -> Value:
        for _ in range(turns):
            found = storable(expression.evaluate(bound.at(place, value)))
            if isinstance(found, EvalError) or same(found, value):
                break
            value = found
        return value

    def run(table: Table) -> tuple[Table, int]:
        cells, places = list(table.column(column)), engine.selected(table)
        found = evaluate_column(expression, table, column, places)
        bound, changed = Bound(table, column), 0
        for place, raw in zip(places, found, strict=True):
            value = storable(raw)
            if isinstance(value, EvalError) and on_error != "store-error":
                if on_error == "keep-original":
                    continue
                value = None
            if not same(value, cells[place]):
                cells[place] = again(bound, place, value) if turns and value is not None else value
                changed += 1
        return table.with_column(column, cells), changed

    return Prepared(run, needs(engine, expression))


@operation("mass-edit")
def mass_edit(fields: Fields) -> Prepared:
    engine, expression, column = engine_of(fields), expression_of(fields), fields.text("columnName")
    edits: dict[str, Value] = {}
    blank_to = error_to = None
    for edit in fields.sections("edits"):
        to = _edit_value(edit)
        edits |= dict.fromkeys(edit.texts("from") if edit.has("from") else [], to)
        blank_to = to if edit.flag("fromBlank") else blank_to
        error_to = to if edit.flag("fromError") else error_to

    def run(table: Table) -> tuple[Table, int]:
        cells, places = list(table.column(column)), engine.selected(table)
        changed = 0
        for place, value in zip(places, evaluate_column(expression, table, column, places), strict=True):
            to = edits.get(text_of(value)) if is_data(value) else blank_to
            if isinstance(value, EvalError):
                to = error_to
            if to is not None and not same(to, cells[place]):
                cells[place] = to
                changed += 1
        return table.with_column(column, cells), changed

    return Prepared(run, needs(engine, expression))


def _edit_value(edit: Fields) -> Value:
    to = edit.raw("to", "")
    if edit.text("type", "") == "date" or (isinstance(to, dict) and to.get("type") == "date"):
        found = parse_free(str(to.get("value") if isinstance(to, dict) else to))
        if isinstance(found, datetime):
            return found
    if isinstance(to, str | int | float | bool):
        return to
    raise edit.error(f"the value {to!r} is not supported as what cells become")


@operation("fill-down")
def fill_down(fields: Fields) -> Prepared:
    engine, column = engine_of(fields), fields.text("columnName")
    memory: dict[str, Value] = {"last": None}

    def run(table: Table) -> tuple[Table, int]:
        cells, changed = list(table.column(column)), 0
        keys = next(iter(table.columns.values()))
        for place in engine.selected(table):
            if engine.by_record and is_data(keys[place]):
                memory["last"] = None
            if is_data(cells[place]):
                memory["last"] = cells[place]
            elif memory["last"] is not None:
                cells[place] = memory["last"]
                changed += 1
        return table.with_column(column, cells), changed

    return Prepared(run, needs(engine))


@operation("blank-down")
def blank_down(fields: Fields) -> Prepared:
    engine, column = engine_of(fields), fields.text("columnName")
    memory: dict[str, Value] = {"last": None}

    def run(table: Table) -> tuple[Table, int]:
        cells, changed = list(table.column(column)), 0
        keys = list(next(iter(table.columns.values())))
        for place in engine.selected(table):
            if engine.by_record and is_data(keys[place]):
                memory["last"] = None
            value = cells[place]
            if not is_data(value):
                memory["last"] = None
                continue
            if memory["last"] is not None and same(value, memory["last"]):
                cells[place] = None
                changed += 1
            memory["last"] = value
        return table.with_column(column, cells), changed

    return Prepared(run, needs(engine))


@operation("multivalued-cell-join")
def join_cells(fields: Fields) -> Prepared:
    column, key, separator = fields.text("columnName"), fields.text("keyColumnName"), fields.text("separator")

    def run(table: Table) -> tuple[Table, int]:
        cells, keys = list(table.column(column)), table.column(key)
        keep: list[int] = []
        changed, place = 0, 0
        others = [other for name, other in table.columns.items() if name != column]
        while place < table.rows:
            end = place + 1
            while is_data(keys[place]) and end < table.rows and not is_data(keys[end]):
                end += 1
            keep.append(place)
            if end > place + 1:
                joined = separator.join(text_of(cells[n]) for n in range(place, end) if is_data(cells[n]))
                changed += joined != cells[place]
                cells[place] = joined
                for n in range(place + 1, end):
                    cells[n] = None
                    if any(is_data(other[n]) for other in others):
                        keep.append(n)
            place = end
        return table.with_column(column, cells).take(keep), changed

    return Prepared(run, needs="table")


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

    def run(table: Table) -> tuple[Table, int]:
        cells, keys = table.column(column), table.column(key)
        at = table.names.index(column)
        rows: list[list[Value]] = []
        parents: list[int | None] = []
        changed, place = 0, 0
        while place < table.rows:
            row, follower = table.row(place), place + 1
            rows.append(row)
            parents.append(place)
            pieces = split(text_of(cells[place])) if is_data(cells[place]) else []
            if len(pieces) > 1:
                row[at] = pieces[0]
                changed += 1
                for piece in pieces[1:]:
                    free = follower < table.rows and not is_data(cells[follower]) and not is_data(keys[follower])
                    rows.append(table.row(follower) if free else [None] * len(row))
                    parents.append(follower if free else None)
                    rows[-1][at] = piece
                    follower += free
            place = follower
        return from_rows(table.names, rows, table, parents), changed

    return Prepared(run, needs="table")


@operation("key-value-columnize")
def key_value_columnize(fields: Fields) -> Prepared:
    """Rows with the same values in the columns that stay become one. With no such columns, the first key found starts
    a row each time it comes again."""
    key, value = fields.text("keyColumnName"), fields.text("valueColumnName")
    note = fields.text("noteColumnName", "")

    def run(table: Table) -> tuple[Table, int]:
        stay = [name for name in table.names if name not in (key, value, note)]
        keys, values = table.column(key), table.column(value)
        notes = table.column(note) if note else []
        made: dict[str, str] = {}  # key -> its column
        rows: list[dict[str, Value]] = []
        parents: list[int | None] = []
        groups: dict[tuple[str, ...], dict[str, Value]] = {}
        note_names: list[str] = []
        first, current = None, []  # type: ignore[var-annotated]

        def new_row(place: int) -> dict[str, Value]:
            rows.append({name: table.columns[name][place] for name in stay})
            parents.append(place)
            return rows[-1]

        for place in range(table.rows):
            if not is_data(keys[place]):
                if stay:
                    new_row(place)
                else:
                    current = []
                continue
            name = text_of(keys[place])
            if name not in made:
                made[name] = _unused(name, [*stay, *made.values()])
                first = name if first is None else first
            if stay:
                group = tuple(text_of(table.columns[column][place]) for column in stay)
                row = groups.get(group)
                if row is None:
                    row = groups[group] = new_row(place)
            else:
                if name == first or not current:
                    current = [new_row(place)]
                row = next((row for row in current if made[name] not in row), None)  # type: ignore[assignment]
                if row is None:
                    row = new_row(place)
                    current.append(row)
            row[made[name]] = values[place]
            if note and is_data(notes[place]):
                title = f"{note} : {name}"
                note_names += [title] if title not in note_names else []
                row[title] = f"{text_of(row[title])};{text_of(notes[place])}" if title in row else notes[place]
        names = [*stay, *made.values(), *note_names]
        return from_rows(names, [[row.get(name) for name in names] for row in rows], table, parents), table.rows

    return Prepared(run, needs="table")


def _unused(name: str, taken: list[str]) -> str:
    found, n = name, 2
    while found in taken:
        found, n = f"{name}{n}", n + 1
    return found
