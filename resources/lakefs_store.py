"""The version store on a lakeFS server: `lakefs_versions` has what runs need, and this what people's commands need."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable

from llm_assets.errors import UserError
from resources import lakefs_objects as objects
from resources.lakefs_client import GONE, LakeFSError
from resources.lakefs_records import RECORD, forgotten_tag, now, read_record, version_of, written_at
from resources.lakefs_versions import CHILD, LakeFSVersions
from resources.store import MAIN, Branch, Garbage, Version

ABANDONED = 24 * 3600  # seconds; a write's own branch that is older belongs to a process that was killed


class LakeFSStore(LakeFSVersions):
    """A `ManagedStore` in a repository of a lakeFS server.

    What it removes is removed from every branch; the server's own garbage collection then frees the objects, when its
    retention rules say so. The copies on this machine are freed at once.
    """

    def versions(self, asset: str) -> list[Version]:
        return list(self._listed(f"fingerprint.{asset}.").values())

    def branches(self) -> list[Branch]:
        main = self.repository.head(MAIN)
        found = [
            Branch(name, written_at(self.repository.commit_at(head)), self._merged(head, main) == self._contents(main))
            for name, head in self.repository.branches().items()
            if main and name != MAIN and not name.startswith(CHILD)
        ]
        return sorted(found, key=lambda branch: -branch.at)

    def reset(self, branch: str, ref: str) -> None:
        commit = self._resolve(ref)
        if commit is None:
            raise UserError(f"{ref!r} is neither a branch nor a release nor a commit of the store")
        wanted, here = self._contents(commit), self._contents(self.repository.head(branch) or commit)

        def stage(child: str) -> None:
            for asset, version in wanted.items():
                if here.get(asset) != version:
                    record = read_record(self.repository, commit, asset)
                    assert record is not None  # `wanted` was read from it
                    self._bring(record, commit, child)
            objects.delete(self.repository, child, [f"{asset}/{RECORD}" for asset in here.keys() - wanted.keys()])

        self._change(branch, f"as {ref}", {"as": ref}, stage)

    def forget(self, versions: Collection[Version]) -> int:
        listed = self._listed("fingerprint.")
        names = {(version.asset, version.data_version, version.fingerprint) for version in versions}
        kept = [v for v in listed.values() if (v.asset, v.data_version, v.fingerprint) not in names]
        whole = {(version.asset, version.data_version) for version in versions}
        whole -= {(version.asset, version.data_version) for version in kept}
        freed = self._free(versions, kept)
        for tag, version in listed.items():
            if (version.asset, version.data_version, version.fingerprint) in names:
                self.repository.delete_tag(tag)
        for asset, data_version in sorted(whole):
            self.repository.move_tag(forgotten_tag(asset, data_version), self.repository.head(MAIN) or MAIN)
        for branch in [MAIN, *(branch.name for branch in self.branches())]:
            self._clear(branch, [f"{asset}/{data_version}/" for asset, data_version in sorted(whole)])
        return freed

    def collect(self, keep: Collection[str], dry_run: bool = False) -> Garbage:
        branches = [branch.name for branch in self.branches() if branch.name not in keep]
        refs = [*(release.name for release in self.releases()), *(b.name for b in self.branches() if b.name in keep)]
        referred = [version for ref in refs for version in self.heads(ref).values()]
        names = {(version.asset, version.fingerprint) for version in referred}
        listed = self._listed("fingerprint.")
        garbage = {tag: version for tag, version in listed.items() if (version.asset, version.fingerprint) not in names}
        freed = self._free(garbage.values(), referred, dry_run)
        if not dry_run:
            abandoned = time.time() - ABANDONED
            killed = [b for b in self.repository.branches(CHILD) if float(b.split("-")[1]) < abandoned]
            for branch in [*branches, *killed]:
                self.repository.delete_branch(branch)
            for tag in garbage:
                self.repository.delete_tag(tag)
        return Garbage(branches, list(garbage.values()), freed)

    # -- parts ----------------------------------------------------------------------------------------------------

    def _listed(self, prefix: str) -> dict[str, Version]:
        """tag -> version of the fingerprints below `prefix`, newest first."""

        def look(item: tuple[str, str]) -> tuple[float, str, Version] | None:
            tag, commit = item
            record = read_record(self.repository, commit, tag.split(".")[1])
            if record is None:
                return None
            return written_at(self.repository.commit_at(commit)), tag, version_of(record, commit)

        found = [item for item in objects.each(look, self.repository.tags(prefix).items()) if item]
        return {tag: version for _, tag, version in sorted(found, key=lambda item: (-item[0], item[1]))}

    def _clear(self, branch: str, prefixes: Collection[str]) -> None:
        """Remove objects from the head of a branch."""
        head = self.repository.head(branch)
        paths = [
            f"{prefix}{path}"
            for prefix in (prefixes if head else ())
            for path in objects.stored(self.repository, head or "", prefix)
        ]
        if paths:
            self._change(branch, "forget", now(), lambda child: objects.delete(self.repository, child, paths))

    def _free(self, gone: Iterable[Version], kept: Iterable[Version], dry_run: bool = False) -> int:
        """Remove from this machine what only versions of `gone` have; bytes."""
        needed = {digest for version in kept for digest in self._digests(version)}
        gone, freed = list(gone), 0
        for digest in sorted({digest for version in gone for digest in self._digests(version)} - needed):
            content = self.cache.object(digest)
            if content.exists():
                freed += content.stat().st_size
                if not dry_run:
                    content.unlink()
                    shutil.rmtree(self.root / "checkouts" / digest, ignore_errors=True)  # links hold the bytes
        return freed

    def _digests(self, version: Version) -> list[str]:
        """The contents of a version, its list of files included."""
        try:
            return [version.data_version, *(file["md5"] for file in self._record(version)["files"])]
        except LakeFSError as error:
            if error.status in GONE:
                return [version.data_version]
            raise
