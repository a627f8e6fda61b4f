"""Rows of a database through SQLAlchemy, streamed; with a key column only those that are new are fetched again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.sources.config import Sql
from llm_assets.data.sources.files import file_digest
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.kept_rows import KeptRows
from llm_assets.data.sources.state import refresh_window
from llm_assets.data.sources.tables import from_record
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import sqlalchemy as sa

ROWS = 5000
VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_sql(source: Sql, home: Path, root: Path, progress: Progress = no_progress) -> Iterator[Found]:
    """One document per row. The uri names database, table and row, never a user or a password.

    With `key_column`, rows are kept under `home`/sql, and only rows whose key is at least the greatest kept one are
    fetched: a later row takes the place of an earlier one of the same id. Rows without a key are not read. Deleted rows
    stay until the folder is removed.
    """
    if source.key_column is None:
        yield from _documents(source, root, _fetched(source, root, None, progress))
        return
    kept = KeptRows(home / "sql" / _state_name(source, root))
    kept.add(_fetched(source, root, kept.greatest_key(), progress))
    yield from _documents(source, root, kept.rows())


def sql_state(source: Sql, root: Path) -> str:
    """The greatest key, which the database is asked for; else the digest of an SQLite file, or the time alone."""
    if source.key_column is not None:
        import sqlalchemy as sa

        with _connection(source, root) as connection:
            rows, columns = _rows_of(source, connection)
            greatest = connection.execute(sa.select(sa.func.max(columns[source.key_column])).select_from(rows)).scalar()
        return f"{source.key_column}<={greatest}"
    url = _url(source, root)
    if url.get_backend_name() == "sqlite" and url.database and Path(url.database).is_file():
        return file_digest(Path(url.database))
    return refresh_window(source.refresh_hours)


def _documents(source: Sql, root: Path, rows: Iterator[tuple[Any, ...]]) -> Iterator[Found]:
    url = _url(source, root)
    where = f"{url.host or ''}/{Path(url.database).name if url.database else ''}"
    what = source.table or f"query-{hashlib.sha256(str(source.query).encode()).hexdigest()[:8]}"
    place, origin = f"{url.get_backend_name()}://{where}/{what}", f"sql:{what}"
    for number, (_, name, text, label, date) in enumerate(rows, 1):
        record = {source.text_column: text}
        if source.label_column:
            record[source.label_column] = label
        if source.date_column:
            record[source.date_column] = date
        row = number if name is None else quote(str(name), safe="")
        yield from_record(f"{place}#{row}", record, source)._replace(source=origin)


def _fetched(source: Sql, root: Path, after: Any, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """Rows (key, name, text, label, date) by key, id or primary key, else as the database gives them."""
    import sqlalchemy as sa

    with _connection(source, root) as connection:
        rows, columns = _rows_of(source, connection)
        key = columns[source.key_column] if source.key_column else sa.null()
        name = columns.get(source.id_column or source.key_column or "", sa.null())
        wanted = [columns[column] if column else sa.null() for column in (source.text_column, source.label_column)]
        date = columns[source.date_column] if source.date_column else sa.null()
        labelled = [column.label(f"c{n}") for n, column in enumerate((key, name, *wanted, date))]
        select = sa.select(*labelled).select_from(rows)
        if source.key_column is None:
            select = select.order_by(*([name] if source.id_column else getattr(rows, "primary_key", ())))
        else:
            select = select.where(key.is_not(None)).order_by(key, name)
            if after is not None:
                select = select.where(key >= after)
        result = connection.execution_options(stream_results=True, yield_per=ROWS).execute(select)
        for done, row in enumerate(result, 1):
            yield tuple(row)
            if done % ROWS == 0:
                progress(0, 1, f"{done:,} rows")


def _rows_of(source: Sql, connection: sa.Connection) -> tuple[Any, dict[str, Any]]:
    """(what to select from, its columns by name)."""
    import sqlalchemy as sa

    found: Any
    columns: dict[str, Any]
    if source.table is not None:
        schema, _, name = source.table.rpartition(".")
        try:
            found = sa.Table(name, sa.MetaData(), autoload_with=connection, schema=schema or None)
        except sa.exc.NoSuchTableError:
            known = ", ".join(sorted(sa.inspect(connection).get_table_names(schema or None))) or "none"
            raise UserError(f"data.sources: no table {source.table!r} in the database; it has {known}") from None
        columns = {column.name: column for column in found.columns}
    else:
        query = str(source.query).strip().removesuffix(";")
        names = list(connection.execute(sa.text(f"SELECT * FROM ({query}) AS q WHERE 1 = 0")).keys())
        found = sa.text(query).columns(*(sa.column(name) for name in names)).subquery("q")
        columns = dict(found.columns)
    for column in (source.text_column, source.label_column, source.date_column, source.id_column, source.key_column):
        if column is not None and column not in columns:
            raise UserError(
                f"data.sources: no column {column!r} in {source.table or 'the query'}; it has {', '.join(columns)}"
            )
    if connection.dialect.name == "sqlite":  # its dates are texts in any form: compare and give them as they are stored
        columns = {name: sa.type_coerce(column, sa.types.NullType()) for name, column in columns.items()}
    return found, columns


@contextmanager
def _connection(source: Sql, root: Path) -> Iterator[sa.Connection]:
    """A connection that changes nothing: what it does is rolled back."""
    import sqlalchemy as sa

    url = _url(source, root)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise UserError(f"data.sources: there is no SQLite database at {url.database}; correct `url`")
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UserError(f"data.sources: no driver for {shown} ({error}); install it with pip") from None
    try:
        with engine.connect() as connection:
            yield connection
            connection.rollback()
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        text = said[0].replace(url.password or "\0", "***")
        raise UserError(f"data.sources: database {shown}: {text}") from None
    finally:
        engine.dispose()


def _url(source: Sql, root: Path) -> sa.URL:
    """The URL with its variables; a relative SQLite file starts at the project's folder."""
    import sqlalchemy as sa

    def value(name: str) -> str:
        if name not in os.environ:
            raise UserError(f"data.sources: the url of the database names ${{{name}}}, which the environment has not")
        return os.environ[name]

    text = source.url
    whole = VARIABLE.fullmatch(text)
    if whole:
        text = value(whole[1])
    else:
        user, at, rest = text.rpartition("@")  # before the @, what is special in a URL must be quoted
        user = VARIABLE.sub(lambda found: quote(value(found[1]), safe=""), user)
        text = user + at + VARIABLE.sub(lambda found: value(found[1]), rest)
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise UserError(f"data.sources: {source.url!r} is no SQLAlchemy URL, with its variables filled in") from None
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        url = url.set(database=str(root / str(url.database)))
    return url


def _state_name(source: Sql, root: Path) -> str:
    settings = source.model_dump(mode="json", exclude={"licence", "split", "max_rejected_share", "refresh_hours"})
    settings["url"] = _url(source, root).set(password=None).render_as_string()
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
