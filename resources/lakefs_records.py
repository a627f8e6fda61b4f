"""A version's record in lakeFS, and the names and notes that go with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from llm_assets.errors import UserError
from resources import lakefs_objects as objects
from resources.cache import LIST
from resources.config import UI_VARIABLE
from resources.lakefs_repository import Repository
from resources.store import Version

RECORD = "version.json"
ERASED = ".erased"  # ends the tag of a version that was erased
BRANCH, MARK, TIME = "published-branch", "publication", "written-at"  # metadata of commits
RUN_LINK = "::lakefs::Dagster::url[url:ui]"  # shown as a link by lakeFS


def new_record(
    asset: str,
    data_version: str,
    files: Sequence[Mapping[str, Any]],
    fingerprint: str,
    inputs: Mapping[str, Version],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """`<asset>/version.json`, as it will be read. files: path, md5 and size of each; `written` orders versions."""
    record = {
        "asset": asset,
        "data_version": data_version,
        "files": list(files),
        "fingerprint": fingerprint,
        "inputs": {
            name: {"data_version": version.data_version, "commit": version.commit}
            for name, version in sorted(inputs.items())
        },
        "metadata": metadata,
        "written": time.time(),
    }
    found: dict[str, Any] = json.loads(json.dumps(record))
    return found


def contents(record: Mapping[str, Any]) -> str:
    """What the paths of a version's contents begin with."""
    return f"{record['asset']}/{record['data_version']}/"


def missing_files(repository: Repository, ref: str, record: Mapping[str, Any]) -> list[str]:
    """The paths of a record's files that are not, or not as recorded, at `ref`."""
    here = objects.stored(repository, ref, contents(record))
    return [
        file["path"]
        for file in record["files"]
        if (found := here.get(file["path"])) is None or found.size != file["size"] or found.md5 not in ("", file["md5"])
    ]


@lru_cache(maxsize=256)
def heads_at(repository: Repository, commit: str) -> dict[str, Version]:
    """asset -> version at a commit, which never changes."""
    names = objects.folders(repository, commit)
    records = objects.each(lambda asset: read_record(repository, commit, asset), names)
    return {name: version_of(record, commit) for name, record in zip(names, records, strict=True) if record}


@lru_cache(maxsize=4096)
def read_record(repository: Repository, commit: str, asset: str) -> dict[str, Any] | None:
    data = objects.read(repository, commit, f"{asset}/{RECORD}")
    if data is None:
        return None
    try:
        record: dict[str, Any] = json.loads(data)
    except ValueError:
        raise UserError(f"{asset}: its record in lakeFS at {commit} is damaged") from None
    return record


def version_of(record: Mapping[str, Any], commit: str) -> Version:
    return Version(
        asset=record["asset"],
        data_version=record["data_version"],
        commit=commit,
        fingerprint=record["fingerprint"],
        inputs=record["inputs"],
        metadata=record["metadata"],
    )


def described(record: Mapping[str, Any]) -> dict[str, str]:
    """What people see of a version on its commit in lakeFS."""
    run, ui = record["metadata"].get("run"), os.environ.get(UI_VARIABLE)
    shown = {
        "asset": record["asset"],
        "data-version": record["data_version"],
        "fingerprint": record["fingerprint"],
        "code-version": record["metadata"].get("code_version"),
        "run": run,
        RUN_LINK: f"{ui.rstrip('/')}/runs/{run}" if run and ui else None,
    }
    return {name: str(value) for name, value in shown.items() if value is not None}


def now() -> dict[str, str]:
    """lakeFS dates commits by the second, which does not order them."""
    return {TIME: f"{time.time():.6f}"}


def written_at(commit: Any) -> float:
    return float((commit.metadata or {}).get(TIME) or commit.creation_date)


def version_tag(version: Version) -> str:
    return f"version.{version.asset}.{version.fingerprint}.{version.data_version.removesuffix(LIST)}"
