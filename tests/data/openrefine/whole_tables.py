"""What operations that make other rows come to, over rows that are all in memory: each as its rule reads."""

from __future__ import annotations

from typing import Any

from llm_assets.data.openrefine.values import is_data, text_of

Rows = list[dict[str, Any]]


def joined(rows: Rows, column: str, key: str, separator: str) -> Rows:
    out, place = Rows(), 0
    while place < len(rows):
        end = place + 1
        while is_data(rows[place][key]) and end < len(rows) and not is_data(rows[end][key]):
            end += 1
        group = rows[place:end]
        if len(group) > 1:
            text = separator.join(text_of(row[column]) for row in group if is_data(row[column]))
            group = [group[0] | {column: text}, *(row | {column: None} for row in group[1:])]
        out += [row for n, row in enumerate(group) if n == 0 or any(map(is_data, row.values()))]
        place = end
    return out


def split(rows: Rows, column: str, key: str, separator: str) -> Rows:
    rows, out = list(rows), Rows()
    while rows:
        row = rows.pop(0)
        pieces = text_of(row[column]).split(separator) if is_data(row[column]) else [row[column]]
        out.append(row | {column: pieces[0] if len(pieces) > 1 else row[column]})
        for piece in pieces[1:]:
            free = bool(rows) and not is_data(rows[0][column]) and not is_data(rows[0][key])
            out.append((rows.pop(0) if free else dict.fromkeys(row)) | {column: piece})
    return out


def into_rows(rows: Rows, start: str, count: int, key: str, value: str, fill: bool) -> Rows:
    out = Rows()
    for row in rows:
        names = list(row)
        first = names.index(start)
        moved, after = names[first : first + count], names[first + count :]
        pairs = [(name, row[name]) for name in moved if row[name] is not None] or [(None, None)]
        for n, (name, cell) in enumerate(pairs):
            other = row if n == 0 or fill else dict.fromkeys(row)
            made = {column: other[column] for column in names[:first]} | {key: name, value: cell}
            out.append(made | {column: other[column] for column in after})
    return out


def into_columns(rows: Rows, column: str, count: int) -> Rows:
    out = Rows()
    for begin in range(0, len(rows), count):
        group = rows[begin : begin + count]
        moved = [row[column] for row in group] + [None] * (count - len(group))
        for n, row in enumerate(group):
            made = dict[str, Any]()
            for name, cell in row.items():
                new = {f"{column} {at}": moved[at - 1] if n == 0 else None for at in range(1, count + 1)}
                made |= new if name == column else {name: cell}
            if n == 0 or any(cell is not None for name, cell in row.items() if name != column):
                out.append(made)
    return out


def columns_of_keys(rows: Rows, key: str, value: str, note: str) -> Rows:
    stay = [name for name in rows[0] if name not in (key, value, note)]
    out, groups, current = Rows(), dict[tuple[str, ...], dict[str, Any]](), Rows()
    keys, notes = list[str](), list[str]()
    for row in rows:
        if not is_data(row[key]):
            current = []
            out += [{name: row[name] for name in stay}] if stay else []
            continue
        name = text_of(row[key])
        keys += [name] if name not in keys else []
        group = tuple(text_of(row[column]) for column in stay)
        if name == keys[0]:
            current = []
        found = groups.get(group) if stay else next((one for one in current if name not in one), None)
        if found is None:
            found = groups[group] = {column: row[column] for column in stay}
            out.append(found)
            current.append(found)
        found[name] = row[value]
        title = f"{note} : {name}"
        if note and is_data(row[note]):
            notes += [title] if title not in notes else []
            found[title] = f"{text_of(found[title])};{text_of(row[note])}" if title in found else row[note]
    return [{name: row.get(name) for name in [*stay, *keys, *notes]} for row in out]
