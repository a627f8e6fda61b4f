"""Bringing a version from one commit of lakeFS to another, and to this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm_assets.errors import UserError
from resources import lakefs_objects as objects
from resources.cache import ContentCache, StoredFile
from resources.lakefs_client import GONE, LakeFSError
from resources.lakefs_records import RECORD, contents, missing_files, read_record
from resources.lakefs_repository import Repository
from resources.store import Version


def written_record(repository: Repository, version: Version, commit: str) -> dict[str, Any]:
    """A version's record at a commit that has it. Raises UserError when it is not there."""
    record = read_record(repository, commit, version.asset)
    if record is None or record["data_version"] != version.data_version:
        raise UserError(f"{version.asset} version {version.data_version}: its record is missing in lakeFS at {commit}")
    return record


def point(repository: Repository, child: str, record: Mapping[str, Any]) -> None:
    """Make a record what its asset is on a child branch."""
    data = json.dumps(record, sort_keys=True).encode()
    objects.put(repository, child, f"{record['asset']}/{RECORD}", data)


def bring(repository: Repository, record: Mapping[str, Any], source: str, child: str) -> None:
    """Put a version of another commit on a child branch; contents that are there already are not copied."""
    paths = [f"{contents(record)}{path}" for path in missing_files(repository, child, record)]
    try:
        objects.copy(repository, source, paths, child)
    except LakeFSError as error:
        if error.status not in GONE:
            raise
        raise UserError(
            f"{record['asset']} version {record['data_version']} is no longer whole in the store. Run again: "
            f"{record['asset']} is then computed anew."
        ) from None
    point(repository, child, record)


def fetch(repository: Repository, cache: ContentCache, record: Mapping[str, Any], source: str) -> None:
    """Download what is not on this machine, each file verified as it comes. The caller holds the cache's `using`.

    Raises UserError naming asset, version and file when one is damaged, in lakeFS or on the way, or missing.
    """
    name = f"{record['asset']} version {record['data_version']}"

    def get(file: StoredFile) -> None:
        path = f"{contents(record)}{file.path}"
        try:
            cache.receive(file.md5, lambda target: objects.download(repository, source, path, target))
        except LakeFSError as error:
            if error.status in GONE:
                raise UserError(f"{name}: file {file.path} is missing in lakeFS") from None
            raise
        except UserError as error:
            raise UserError(f"{name}: file {file.path} is damaged in lakeFS or on the way ({error})") from None

    files = [StoredFile(entry["path"], entry["md5"]) for entry in record["files"]]
    objects.each(get, files)
    if cache.add_list(files) != record["data_version"]:
        raise UserError(f"{name}: its list of files in lakeFS is damaged")
