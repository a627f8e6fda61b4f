"""Databases: SQLite (Chinook) and, where its server is installed, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from llm_assets.data.acquire import acquire_documents, read_sources
from llm_assets.data.config import Sql
from llm_assets.data.sources.state import sources_state
from llm_assets.errors import UserError
from llm_assets.recipe import load_recipe


@pytest.fixture
def chinook(real_data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "chinook.sqlite"
    shutil.copy(real_data / "chinook" / "Chinook_Sqlite.sqlite", path)
    path.chmod(0o600)
    return path


def sql(path: Path, **settings: Any) -> Sql:
    return Sql.model_validate({"url": f"sqlite:///{path}", "text_column": "Name"} | settings)


def state(source: Sql, home: Path) -> str:
    return sources_state([source], home)


def test_a_table_and_a_query(chinook: Path, tmp_path: Path) -> None:
    rows = read_sources([sql(chinook, table="Track", id_column="TrackId", licence="MIT")], tmp_path).to_pylist()
    assert len(rows) == 3503
    assert rows[0]["text"] == "For Those About To Rock (We Salute You)"
    assert (rows[0]["uri"], rows[0]["source"]) == ("sqlite:///chinook.sqlite/Track#1", "sql:Track")
    query = """
        SELECT t.Name || ', by ' || COALESCE(t.Composer, 'unknown') AS said, g.Name AS genre, i.InvoiceDate AS sold
        FROM Track t JOIN Genre g USING (GenreId) JOIN InvoiceLine USING (TrackId) JOIN Invoice i USING (InvoiceId)
        ORDER BY t.TrackId;
    """
    source = sql(chinook, query=query, text_column="said", label_column="genre", date_column="sold")
    table = read_sources([source], tmp_path)
    assert table.num_rows == 2240
    assert {"Rock", "Jazz", "Classical"} <= set(table["label"].to_pylist())
    assert table["text"][0].as_py().startswith("For Those About To Rock (We Salute You), by Angus Young")
    assert {date.year for date in table["fetched_at"].to_pylist()} == set(range(2021, 2026))


def test_with_a_key_only_new_rows_are_fetched(chinook: Path, tmp_path: Path) -> None:
    source = sql(chinook, table="Track", key_column="TrackId")
    before = state(source, tmp_path)
    first = read_sources([source], tmp_path)
    assert read_sources([source], tmp_path).equals(first)
    (part,) = (tmp_path / "sql").rglob("*.parquet")
    with sqlite3.connect(chinook) as base:  # a change below the key is what an incremental source does not see
        base.execute("UPDATE Track SET Name = 'unseen' WHERE TrackId = 1")
        base.execute("INSERT INTO Track VALUES (9001, 'Brand New', 1, 1, 1, NULL, 1, 1, 0.99)")
    assert state(source, tmp_path) != before
    second = read_sources([source], tmp_path)
    assert second["text"].to_pylist() == [*first["text"].to_pylist(), "Brand New"]
    assert len(list((tmp_path / "sql").rglob("*.parquet"))) == 2
    partial = part.with_name("000002.1-dead.partial")  # what a killed acquisition leaves behind
    partial.write_bytes(b"half")
    assert read_sources([source], tmp_path).equals(second)
    shutil.rmtree(tmp_path / "sql")
    assert read_sources([source], tmp_path)["text"][0].as_py() == "unseen"


def test_a_row_that_changed_takes_the_place_of_its_old_self(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, changed TIMESTAMP)")
        base.executemany("INSERT INTO notes VALUES (?, ?, ?)", [(n, f"note {n}", f"2024-01-0{n}") for n in (1, 2, 3)])
        base.execute("INSERT INTO notes VALUES (9, 'without a time', NULL)")
    source = sql(path, table="notes", text_column="body", id_column="id", key_column="changed", date_column="changed")
    assert read_sources([source], tmp_path)["text"].to_pylist() == ["note 1", "note 2", "note 3"]
    with sqlite3.connect(path) as base:
        base.execute("UPDATE notes SET body = 'note 1, mended', changed = '2024-02-01' WHERE id = 1")
        base.execute("INSERT INTO notes VALUES (4, 'as late as 3', '2024-01-03')")
    found = read_sources([source], tmp_path)
    assert found["text"].to_pylist() == ["note 2", "note 3", "as late as 3", "note 1, mended"]
    shutil.rmtree(tmp_path / "sql")
    assert read_sources([source], tmp_path).equals(found)


def test_without_a_key_the_file_is_the_state(chinook: Path, tmp_path: Path) -> None:
    source = sql(chinook, table="Genre")
    before = state(source, tmp_path)
    assert state(source, tmp_path) == before
    with sqlite3.connect(chinook) as base:
        base.execute("INSERT INTO Genre VALUES (99, 'Skiffle')")
    assert state(source, tmp_path) != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"table": "Tracks"}, "no table 'Tracks' in the database; it has Album, Artist"),
        ({"table": "Track", "text_column": "Title"}, "no column 'Title' in Track; it has TrackId, Name"),
        ({"query": "SELECT Nam FROM Track"}, "no such column: Nam"),
        ({"query": "DROP TABLE Track"}, "syntax error"),
        ({"table": "Track", "url": "sqlite:///nowhere.sqlite"}, "no SQLite database at"),
        ({"table": "Track", "url": "nosuch://host/base"}, "no driver for nosuch://host/base"),
        ({"table": "Track", "url": "sqlite:///${NO_SUCH_VARIABLE}"}, "${NO_SUCH_VARIABLE}"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, Any], said: str, chinook: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_sources([sql(chinook, **settings)], tmp_path)
    assert said in str(error.value)


def test_a_password_comes_from_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\ndata: {sources: [{kind: sql, url: 'postgresql+psycopg://me:hunter2@127.0.0.1:1/x', table: t}]}"
    )
    with pytest.raises(UserError, match=r"holds a password; write \$\{NAME\}") as error:
        load_recipe(recipe)
    assert "hunter2" not in str(error.value)
    monkeypatch.setenv("SECRET", "hunter2/@:")
    source = Sql(url="postgresql+psycopg://me:${SECRET}@127.0.0.1:1/x", table="t", key_column="k")
    for attempt in (lambda: read_sources([source], tmp_path), lambda: state(source, tmp_path)):
        with pytest.raises(UserError, match=r"me:\*\*\*@127\.0\.0\.1:1/x: connection failed") as error:
            attempt()
        assert "hunter2" not in str(error.value)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of one's own."""
    folders = [Path(path) for path in ("/usr/local/bin", *map(str, Path("/usr/lib/postgresql").glob("*/bin")))]
    found = shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)]))
    if not found:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="no driver: install llm-assets[postgres]")
    import socket

    base = tmp_path_factory.mktemp("postgres")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        for folder in (base, *base.parents):
            if folder.stat().st_uid == 0 and folder != Path("/tmp") and Path("/tmp") in folder.parents:
                folder.chmod(0o755)
        shutil.chown(base, "nobody", "nogroup")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (base / "password").write_text("s3cret")
    (base / "password").chmod(0o644)
    quiet: dict[str, Any] = {"cwd": base, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **account}
    arguments = ["-D", str(base / "data"), "-U", "factory", "--pwfile", str(base / "password"), "-A", "scram-sha-256"]
    if subprocess.run([found, *arguments, "-N", "--locale=C", "-E", "UTF8"], check=False, **quiet).returncode:
        pytest.skip("initdb of PostgreSQL failed here")
    server = Path(found).resolve().with_name("postgres")
    command = [str(server), "-D", str(base / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(base), "-F"]
    process = subprocess.Popen(command, **quiet)
    url = f"postgresql+psycopg://factory:s3cret@127.0.0.1:{port}/postgres"
    engine = sa.create_engine(url)
    try:
        for _ in range(100):
            try:
                with engine.begin() as connection:
                    connection.execute(sa.text("SELECT 1"))
                break
            except sa.exc.OperationalError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield url
    finally:
        engine.dispose()
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        process.wait(20)


def test_postgresql(postgres: str, chinook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sa.create_engine(postgres)
    with sqlite3.connect(chinook) as base, engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA music"))
        connection.execute(
            sa.text("CREATE TABLE music.track (id bigint PRIMARY KEY, name text, genre text, changed timestamptz)")
        )
        tracks = base.execute("SELECT TrackId, Track.Name, Genre.Name FROM Track JOIN Genre USING (GenreId)")
        connection.execute(
            sa.text(
                "INSERT INTO music.track VALUES (:id, :name, :genre, timestamptz '2024-01-01Z' + :id * interval '1h')"
            ),
            [{"id": row[0], "name": row[1], "genre": row[2]} for row in tracks],
        )
    monkeypatch.setenv("DB_PASSWORD", "s3cret")
    source = Sql(
        url=postgres.replace("s3cret", "${DB_PASSWORD}"),
        table="music.track",
        text_column="name",
        label_column="genre",
        date_column="changed",
        id_column="id",
        key_column="changed",
    )
    before = state(source, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    summary = acquire_documents([source], tmp_path, out)
    assert (summary.metrics["rows"], summary.metrics["labels"]) == (3503, 25)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE music.track SET name = 'changed', changed = now() WHERE id = 7"))
    assert state(source, tmp_path) != before
    rows = read_sources([source], tmp_path).to_pylist()
    assert len(rows) == 3503
    assert (rows[-1]["text"], rows[-1]["uri"]) == ("changed", "postgresql://127.0.0.1/postgres/music.track#7")
    assert "s3cret" not in str(rows[:10]) and "factory" not in str(rows[:10])
