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
from resources.cache import ContentCache
from resources.config import StoreConfig
from resources.lakefs_client import Access, LakeFSError, attempt
from resources.lakefs_records import (
    BRANCH,
    ERASED,
    MARK,
    contents,
    described,
    heads_at,
    missing_files,
    new_record,
    now,
    read_record,
    version_of,
    version_tag,
)
from resources.lakefs_releases import publications
from resources.lakefs_repository import Repository
from resources.lakefs_transfer import bring, fetch, point, written_record
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
            files = {file.path: self.cache.object(file.md5) for file in self.cache.files(asset, data_version)}
            sizes = [
                {"path": file.path, "md5": file.md5, "size": files[file.path].stat().st_size}
                for file in self.cache.files(asset, data_version)
            ]
            record = new_record(asset, data_version, sizes, fingerprint, inputs, metadata)
            version = version_of(record, "")

            def stage(child: str) -> None:
                missing = missing_files(self.repository, child, record)
                objects.upload(self.repository, child, {f"{contents(record)}{path}": files[path] for path in missing})
                if damaged := missing_files(self.repository, child, record):
                    raise UserError(
                        f"{asset} version {data_version}: {damaged[0]} did not arrive at lakeFS as it was sent. Run "
                        "again; nothing was committed."
                    )
                point(self.repository, child, record)

            commit = self._change(branch, asset, described(record), stage, version)
        return replace(version, commit=commit)

    def adopt(self, branch: str, version: Version) -> Version:
        source = self._written(version)
        found = self.heads(branch).get(version.asset)
        if found is not None and replace(found, commit="") == replace(version, commit=""):
            return version
        record = written_record(self.repository, version, source)

        def stage(child: str) -> None:
            bring(self.repository, record, source, child)

        commit = self._change(branch, f"{version.asset} (computed before)", described(record), stage, version)
        return replace(version, commit=commit)

    def find(self, asset: str, fingerprint: str) -> Version | None:
        for version in self._listed(f"version.{asset}.{fingerprint}."):
            record = written_record(self.repository, version, version.commit)
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
            fetch(self.repository, self.cache, written_record(self.repository, version, source), source)
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
        if self._contents(commit) != self._contents(head):  # the branch goes on from the release, as `main` does
            self.repository.merge(commit, branch, message)
        return next(release for release in publications(self.repository, name=True) if release.commit == commit)

    def releases(self) -> list[Release]:
        return publications(self.repository)

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

    def _list(self, version: Version, commit: str) -> None:
        """Let the store list a version by a commit that has it. A tag moves by being away for a moment, in which others
        could not read the version: it stays where the version is whole.
        """
        tag = version_tag(version)
        if not self.repository.create_tag(tag, commit):
            before = self.repository.tag(tag) or commit
            record = read_record(self.repository, before, version.asset)
            if record is None or missing_files(self.repository, before, record):
                self.repository.move_tag(tag, commit)
        self.repository.delete_tag(tag + ERASED)  # made again, and on purpose

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
                self._list(version, commit)
            self.repository.merge(commit, branch, f"{message}: merged", now())
            if version:  # a collection elsewhere may have seen it before it was on the branch
                self.repository.create_tag(version_tag(version), commit)
        finally:
            with suppress(LakeFSError):  # what remains is removed by `collect`
                delete = self.repository.api.branches_api.delete_branch
                attempt(self.access, f"delete the branch {child}", 2, delete, self.repository.name, child)
        return commit

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
