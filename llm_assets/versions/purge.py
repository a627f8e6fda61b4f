"""Taking rows out of everything that is no version: people's files, the endpoint's packages, Dagster's records."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.data.rows import text_hash
from llm_assets.serving.append_log import Matches, blank, locked, parse
from llm_assets.serving.labels import FOLDER as LABELS
from llm_assets.serving.traffic import FOLDER
from llm_assets.serving.traffic_parts import KINDS, parts, scrub
from llm_assets.versions.fragments import Fragments, holds

if TYPE_CHECKING:
    import dagster as dg

# Under the state folder: pages and rows fetched before, and what models made of texts. They are filled again.
CACHES = ("web", "sql", "cache")


def record_matcher(ids: Collection[str], hashes: Collection[str], wanted: Fragments) -> Matches:
    """record of a JSON-lines file -> whether it is of an erased row: by id, content hash, or a text in it."""

    def matches(record: Mapping[str, Any]) -> bool:
        texts = [value for value in record.values() if isinstance(value, str)]
        return (
            record.get("id") in ids
            or any(text_hash(text) in hashes for text in texts)
            or any(holds(text, wanted) for text in texts)
        )

    return matches


def purge_files(home: Path, matches: Matches) -> list[str]:
    """Take matching records out of feedback and traffic, and feedback on replies that go with them; what was done."""
    done = []
    for path in sorted((home / "feedback").glob("*.jsonl")):
        if removed := _rewrite(path, matches):
            done.append(f"{path.relative_to(home)}: {removed} records removed")
    for path in sorted((home / LABELS).glob("*.jsonl")):
        with locked(path) as handle:  # the endpoint appends to it
            if gone := blank(handle, matches):
                done.append(f"{path.relative_to(home)}: {len(gone)} records removed")
    replies: set[str] = set()

    def of_a_reply(record: Mapping[str, Any]) -> bool:
        return record.get("id") in replies or matches(record)

    for part in (part for kind in KINDS for part in parts(home / FOLDER, kind)):  # requests before the feedback on them
        if ids_gone := scrub(part, of_a_reply):
            replies |= ids_gone
            done.append(f"{FOLDER}/{part.stem}: {len(ids_gone)} records removed")
    for name in CACHES:
        if (home / name).is_dir():
            shutil.rmtree(home / name)
            done.append(f"{name}: removed (a cache)")
    for path in sorted((home / "simulation").glob("*.json")):
        if any(matches({"text": text}) for text, _ in json.loads(path.read_text(encoding="utf-8"))):
            path.unlink()  # a cache: made again when it is needed
            done.append(f"{path.relative_to(home)}: removed")
    return done


def purge_packages(home: Path, digests: Collection[str], serving: str | None) -> list[str]:
    """Remove the endpoint's packages, except the one being served; the digests of those removed."""
    removed = []
    for digest in sorted(digests):
        folder = home / "endpoint" / "packages" / digest
        if digest != serving and folder.is_dir():
            shutil.rmtree(folder)
            removed.append(digest)
    return removed


def purge_runs(instance: dg.DagsterInstance, home: Path, versions: Collection[tuple[str, str]]) -> list[str]:
    """Remove the runs that materialized any of these (asset, data version), with all they recorded; their ids."""
    import dagster as dg
    from dagster._core.definitions.data_version import DATA_VERSION_TAG

    runs: set[str] = set()
    for asset in sorted({asset for asset, _ in versions}):
        cursor = None
        while True:
            page = instance.fetch_materializations(dg.AssetKey(asset), limit=500, cursor=cursor)
            for record in page.records:
                made = record.asset_materialization
                if made and (asset, (made.tags or {}).get(DATA_VERSION_TAG)) in versions and record.run_id:
                    runs.add(record.run_id)
            if not page.has_more:
                break
            cursor = page.cursor
    for run in sorted(runs):
        instance.delete_run(run)
        _forget_checks(instance, run)
        for path in (home / "dagster").rglob(f"{run}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for asset in sorted({asset for asset, _ in versions}):
        last = instance.get_latest_materialization_event(dg.AssetKey(asset))
        made = last.asset_materialization if last else None
        if made and (asset, (made.tags or {}).get(DATA_VERSION_TAG)) in versions:
            instance.wipe_assets([dg.AssetKey(asset)])  # the catalogue keeps the last one, also without its run
    _compact(home)
    return sorted(runs)


def _forget_checks(instance: dg.DagsterInstance, run: str) -> None:
    """Dagster keeps the evaluations of checks when it deletes a run; they may quote rows."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run))


def _compact(home: Path) -> None:
    """Write SQLite's files anew: deleted rows lie in free pages and in the write-ahead log until then."""
    import sqlite3

    for path in sorted((home / "dagster").rglob("*.db")):
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rewrite(path: Path, matches: Matches) -> int:
    """Write a JSON-lines file without the matching records, all at once."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not (record := parse(line)) or not matches(record)]
    if len(kept) < len(lines):
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as stream:
            stream.writelines(kept)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    return len(lines) - len(kept)
