"""Versions in a lakeFS repository: what the one IO path needs of it.

    <asset>/version.json             the version a commit holds: its record, the one object that merges decide about
    <asset>/<data version>/<path>    contents, never changed and never removed by a later version
    tags  v1 v2 …                             releases: the first-parent history of `main`, in its order
          version.<asset>.<fingerprint>.<md5> the commit that wrote a version: what the store lists, finds and reads
          version.….erased                    the same of a version that was erased

A commit of lakeFS takes everything that is staged on its branch. So each write stages on a branch of its own, commits,
and is merged: steps that run at once never commit each other's half-written files, and what is killed leaves no trace
on the run's branch. Contents stay at the head of `main`, for the server's garbage collection removes what no head has.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from resources import lakefs_objects as objects
from resources.cache import ContentCache, StoredFile
from resources.config import StoreConfig
from resources.lakefs_client import GONE, Access, LakeFSError, attempt
from resources.lakefs_records import (
    BRANCH,
    ERASED,
    MARK,
    RECORD,
    contents,
    described,
    heads_at,
    missing_files,
    new_record,
    now,
    read_record,
    version_of,
    version_tag,
    written_at,
)
from resources.lakefs_repository import Repository
from resources.store import MAIN, Release, Version

CHILD = "write-"


@dataclass(frozen=True)
class LakeFSVersions:
    """A `VersionStore` in a repository of a lakeFS server; `root` caches contents on this machine."""

    root: Path
    access: Access
    config: StoreConfig

    def open_branch(self, branch: str) -> None:
        if self.repository.head(branch) is not None:
            return
        main = self.repository.head(MAIN)
        if main is None:
            self.repository.create(self.config.storage_namespace)
            main = self.repository.head(MAIN)
        if main is None:
            raise UserError(f"repository {self.repository.name} at {self.access.endpoint} has no branch {MAIN!r}")
        self.repository.create_branch(branch, main)

    def write(
        self,
        branch: str,
        asset: str,
        directory: Path,
        *,
        fingerprint: str,
        inputs: Mapping[str, Version],
        metadata: Mapping[str, Any],
    ) -> Version:
        if not any(path.is_file() for path in directory.rglob("*")):
            raise UserError(f"{asset} wrote no file: an artifact holds at least one")
        with self.cache.using():
            data_version, _, _ = self.cache.add(directory)
            files = {file.path: file.md5 for file in self.cache.files(asset, data_version)}
            record = new_record(asset, data_version, self._sized(files), fingerprint, inputs, metadata)
            version = version_of(record, "")

            def stage(child: str) -> None:
                local = {path: self.cache.object(files[path]) for path in missing_files(self.repository, child, record)}
                prefix = contents(record)
                objects.upload(self.repository, child, {f"{prefix}{path}": file for path, file in local.items()})
                if damaged := missing_files(self.repository, child, record):
                    raise UserError(
                        f"{asset} version {data_version}: {damaged[0]} did not arrive at lakeFS as it was sent. Run "
                        "again; nothing was committed."
                    )
                self._point(child, record)

            commit = self._change(branch, asset, described(record), stage, version)
        return replace(version, commit=commit)

    def adopt(self, branch: str, version: Version) -> Version:
        source = self._written(version)
        found = self.heads(branch).get(version.asset)
        if found is not None and replace(found, commit="") == replace(version, commit=""):
            return version
        record = self._record(version, source)

        def stage(child: str) -> None:
            self._bring(record, source, child)

        commit = self._change(branch, f"{version.asset} (computed before)", described(record), stage, version)
        return replace(version, commit=commit)

    def find(self, asset: str, fingerprint: str) -> Version | None:
        for version in self._listed(f"version.{asset}.{fingerprint}."):
            record = self._record(version, version.commit)
            if self.cache.complete(asset, version.data_version):
                return version
            if not missing_files(self.repository, version.commit, record):
                return version
        return None

    def heads(self, ref: str) -> dict[str, Version]:
        commit = self._resolve(ref)
        return dict(heads_at(self.repository, commit)) if commit else {}

    def checkout(self, version: Version) -> Path:
        source = self._written(version)
        if self.cache.complete(version.asset, version.data_version):
            with suppress(UserError):  # what is damaged here has been set aside: the server has it whole
                return self.cache.checkout(version.asset, version.data_version)
        with self.cache.using():
            self._fetch(version, source)
            return self.cache.checkout(version.asset, version.data_version)

    def publish(self, branch: str, message: str) -> Release | None:
        head, main = self.repository.head(branch), self.repository.head(MAIN)
        if head is None or main is None:
            raise UserError(f"branch {branch!r} is not in the store: there is nothing to publish")
        if self._merged(head, main) == self._contents(main):
            return None
        mark = uuid.uuid4().hex
        try:
            commit = self.repository.merge(head, MAIN, message, {BRANCH: branch, MARK: mark, **now()}, empty=False)
        except LakeFSError as error:
            if error.status != 400 or self.repository.merge_base(head, MAIN) != head:
                raise
            # `main` has it: our own merge, whose answer was lost on the way, or another publisher's of this branch
            log = self.repository.log(MAIN)
            ours = next((item.id for item in log if (item.metadata or {}).get(MARK) == mark), None)
            if ours is None:
                return None
            commit = ours
        return next(release for release in self._publications(name=True) if release.commit == commit)

    def releases(self) -> list[Release]:
        return self._publications(name=False)

    # -- parts ----------------------------------------------------------------------------------------------------

    @property
    def repository(self) -> Repository:
        return Repository(self.access, self.config.repository)

    @property
    def cache(self) -> ContentCache:
        return ContentCache(self.root)

    def _resolve(self, ref: str) -> str | None:
        """The commit of a branch, a release, or a commit's own id."""
        if re.fullmatch("[0-9a-f]{64}", ref):
            return ref if self.repository.commit_at(ref) else None
        found = self.repository.head(ref) or self.repository.tag(ref)
        if found is None and re.fullmatch(r"v\d+", ref):  # its publisher was killed before it set the tag
            found = next((release.commit for release in self.releases() if release.name == ref), None)
        return found

    def _written(self, version: Version) -> str:
        """The commit that wrote a version. Raises UserError when it was erased or collected since."""
        tag = version_tag(version)
        tags = self.repository.tags(tag)
        if tag + ERASED in tags:
            raise UserError(
                f"{version.asset} version {version.data_version} was erased: the store names it, and cannot read it. "
                f"Materialize {version.asset} again, or read another version."
            )
        if tag not in tags:
            raise UserError(
                f"{version.asset} version {version.data_version} is no longer in the store: nothing referred to it. "
                f"Materialize {version.asset} again."
            )
        return tags[tag]

    def _listed(self, prefix: str) -> list[Version]:
        """The versions whose tags begin with `prefix`, newest first; not those erased."""
        tags = self.repository.tags(prefix)

        def look(item: tuple[str, str]) -> dict[str, Any] | None:
            record = read_record(self.repository, item[1], item[0].split(".")[1])
            return {**record, "commit": item[1]} if record else None

        names = [item for item in tags.items() if not item[0].endswith(ERASED) and item[0] + ERASED not in tags]
        found = [record for record in objects.each(look, names) if record]
        found.sort(key=lambda record: (-record["written"], record["asset"], record["fingerprint"]))
        return [version_of(record, record["commit"]) for record in found]

    def _change(
        self,
        branch: str,
        message: str,
        metadata: Mapping[str, str],
        stage: Callable[[str], None],
        version: Version | None = None,
    ) -> str:
        """Let `stage` change a child of `branch`, commit it, list `version` by its commit, and merge; the commit."""
        head = self.repository.head(branch)
        if head is None or (branch == MAIN and version is not None):
            raise UserError(f"branch {branch!r} is not a run's branch in the store: open it before writing {message}")
        child = f"{CHILD}{int(time.time())}-{uuid.uuid4().hex}"
        self.repository.create_branch(child, head, hidden=True)
        try:
            stage(child)
            commit = self.repository.commit(child, message, {**metadata, **now()})
            if version:
                self.repository.move_tag(version_tag(version), commit)
                self.repository.delete_tag(version_tag(version) + ERASED)  # made again, and on purpose
            self.repository.merge(commit, branch, f"{message}: merged", now())
            if version:  # a collection elsewhere may have seen it before it was on the branch
                self.repository.create_tag(version_tag(version), commit)
        finally:
            with suppress(LakeFSError):  # what remains is removed by `collect`
                delete = self.repository.api.branches_api.delete_branch
                attempt(self.access, f"delete the branch {child}", 2, delete, self.repository.name, child)
        return commit

    def _point(self, child: str, record: Mapping[str, Any]) -> None:
        """Make a record what its asset is on a child branch."""
        data = json.dumps(record, sort_keys=True).encode()
        objects.put(self.repository, child, f"{record['asset']}/{RECORD}", data)

    def _bring(self, record: Mapping[str, Any], source: str, child: str) -> None:
        """Put a version of another commit on a child branch; contents that are there already are not copied."""
        paths = [f"{contents(record)}{path}" for path in missing_files(self.repository, child, record)]
        try:
            objects.copy(self.repository, source, paths, child)
        except LakeFSError as error:
            if error.status not in GONE:
                raise
            raise UserError(
                f"{record['asset']} version {record['data_version']} is no longer whole in the store. Run again: "
                f"{record['asset']} is then computed anew."
            ) from None
        self._point(child, record)

    def _sized(self, files: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {"path": path, "md5": digest, "size": self.cache.object(digest).stat().st_size}
            for path, digest in files.items()
        ]

    def _record(self, version: Version, commit: str) -> dict[str, Any]:
        record = read_record(self.repository, commit, version.asset)
        if record is None or record["data_version"] != version.data_version:
            raise UserError(
                f"{version.asset} version {version.data_version}: its record is missing in lakeFS at {commit}"
            )
        return record

    def _fetch(self, version: Version, source: str) -> None:
        """Download what is not on this machine, each file verified as it comes."""
        record = self._record(version, source)
        name = f"{version.asset} version {version.data_version}"

        def get(file: StoredFile) -> None:
            path = f"{contents(record)}{file.path}"
            try:
                self.cache.receive(file.md5, lambda target: objects.download(self.repository, source, path, target))
            except LakeFSError as error:
                if error.status in GONE:
                    raise UserError(f"{name}: file {file.path} is missing in lakeFS") from None
                raise
            except UserError as error:
                raise UserError(f"{name}: file {file.path} is damaged in lakeFS or on the way ({error})") from None

        files = [StoredFile(entry["path"], entry["md5"]) for entry in record["files"]]
        objects.each(get, files)
        if self.cache.add_list(files) != version.data_version:
            raise UserError(f"{name}: its list of files in lakeFS is damaged")

    def _contents(self, commit: str) -> dict[str, Version]:
        """What a commit holds, comparable with another commit."""
        return {asset: replace(version, commit="") for asset, version in heads_at(self.repository, commit).items()}

    def _merged(self, head: str, main: str) -> dict[str, Version]:
        """What `main` would hold if `head` were published."""
        base = self.repository.merge_base(head, MAIN)
        before, after = self._contents(base), self._contents(head)
        changed = {asset: version for asset, version in after.items() if before.get(asset) != version}
        gone = before.keys() - after.keys()
        return {asset: version for asset, version in (self._contents(main) | changed).items() if asset not in gone}

    def _publications(self, name: bool) -> list[Release]:
        """The releases, newest first. A name is the place in the history of `main`, so publishers that tag at once
        agree; name: set the tags that are missing, also those of publishers that were killed.
        """
        tags = {tag: commit for tag, commit in self.repository.tags("v").items() if re.fullmatch(r"v\d+", tag)}
        names = {commit: tag for tag, commit in tags.items()}
        log = [item for item in self.repository.log(MAIN) if BRANCH in (item.metadata or {})]
        found: list[Release] = []
        number = 0
        for item in reversed(log):
            number = int(names[item.id][1:]) if item.id in names else number + 1
            while tags.get(f"v{number}", item.id) != item.id:  # a tag that a person has set
                number += 1
            if name and item.id not in names:
                self.repository.create_tag(f"v{number}", item.id)
            found.insert(0, Release(f"v{number}", item.id, written_at(item), item.metadata[BRANCH], item.message))
        return found
