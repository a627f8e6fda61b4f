"""The version store on a lakeFS server: `lakefs_versions` has what runs need, and this what people's commands need."""

from __future__ import annotations

import time
from collections.abc import Collection

from llm_assets.errors import UserError
from resources import lakefs_objects as objects
from resources.lakefs_records import ERASED, RECORD, heads_at, version_tag, written_at
from resources.lakefs_transfer import bring, written_record
from resources.lakefs_versions import CHILD, LakeFSVersions
from resources.removal import keep_only
from resources.store import MAIN, Branch, Garbage, Version

ABANDONED = 24 * 3600  # seconds; a write's own branch that is older belongs to a process that was killed


class LakeFSStore(LakeFSVersions):
    """A `ManagedStore` in a repository of a lakeFS server.

    What it removes is removed from every branch; the server's own garbage collection then frees the objects, when its
    retention rules say so. The copies on this machine are freed at once, and the bytes freed are theirs.
    """

    def versions(self, asset: str) -> list[Version]:
        return self._listed(f"version.{asset}.")

    def branches(self) -> list[Branch]:
        main = self.repository.head(MAIN)
        found = [
            Branch(name, written_at(self.repository.commit_at(head)), self._merged(head, main) == self._contents(main))
            for name, head in self.repository.branches().items()
            if main and name != MAIN and not name.startswith(CHILD)
        ]
        return sorted(found, key=lambda branch: (-branch.at, branch.name))

    def reset(self, branch: str, ref: str) -> None:
        main, source = self.repository.head(MAIN), self._resolve(ref)
        if main is None or branch == MAIN or self.repository.head(branch) is None:
            raise UserError(f"branch {branch!r} is not a run's branch in the store: open it before resetting it")
        if source is None:
            raise UserError(f"{ref!r} is no release, branch or commit of the store")
        wanted = heads_at(self.repository, source)
        for version in wanted.values():
            self._written(version)  # or it could not be read there
        self.repository.merge(main, branch, f"reset to {ref}: what {MAIN} has gained is to go as well")

        def stage(child: str) -> None:
            here = self.heads(child)
            for version in wanted.values():
                bring(self.repository, written_record(self.repository, version, source), source, child)
            objects.delete(self.repository, child, [f"{asset}/{RECORD}" for asset in here.keys() - wanted.keys()])

        self._change(branch, f"reset to {ref}", {}, stage)

    def forget(self, versions: Collection[Version]) -> int:
        with self.cache.removing():
            for version in versions:
                tag = version_tag(version)
                self.repository.create_tag(tag + ERASED, self.repository.tag(tag) or version.commit)
                self.repository.delete_tag(tag)
            listed = self._listed("version.")
            needed = {(version.asset, version.data_version) for version in listed}
            gone = {(v.asset, v.data_version) for v in versions if (v.asset, v.data_version) not in needed}
            prefixes = [f"{asset}/{data_version}/" for asset, data_version in sorted(gone)]
            for branch in [MAIN, *(branch.name for branch in self.branches())]:
                self._clear(branch, prefixes)
            return self._free(listed)

    def collect(self, keep: Collection[str], dry_run: bool = False) -> Garbage:
        with self.cache.removing():
            listed = self._listed("version.")  # before the branches: what is written meanwhile is on no list
            branches = sorted(branch.name for branch in self.branches() if branch.name not in keep)
            held = self._held(keep)
            garbage = [version for version in listed if version_tag(version) not in held]
            freed = self._free([version for version in listed if version_tag(version) in held], dry_run)
            if not dry_run:
                since = time.time() - ABANDONED
                killed = [name for name in self.repository.branches(CHILD) if float(name.split("-")[1]) < since]
                for branch in [*branches, *killed]:
                    self.repository.delete_branch(branch)
                for version in garbage:
                    self.repository.delete_tag(version_tag(version))
                held = self._held(keep)
                for version in garbage:  # adopted meanwhile, on another machine
                    if version_tag(version) in held:
                        self.repository.create_tag(version_tag(version), version.commit)
            return Garbage(branches, garbage, freed)

    # -- parts ----------------------------------------------------------------------------------------------------

    def _held(self, keep: Collection[str]) -> set[str]:
        """The tags of what releases, these branches and `main` hold, and of all that was computed from."""
        heads = [head for name, head in self.repository.branches().items() if name in {MAIN, *keep}]
        commits = [*heads, *(release.commit for release in self.releases())]
        queue = [version for commit in commits for version in heads_at(self.repository, commit).values()]
        found: set[str] = set()
        while queue:
            version = queue.pop()
            if version_tag(version) not in found:
                found.add(version_tag(version))
                for name, origin in version.inputs.items():
                    queue.append(heads_at(self.repository, origin["commit"])[name])
        return found

    def _clear(self, branch: str, prefixes: Collection[str]) -> None:
        """Remove objects from the head of a branch."""
        head = self.repository.head(branch)
        if head is None:
            return
        paths = [f"{prefix}{path}" for prefix in prefixes for path in objects.stored(self.repository, head, prefix)]
        if paths:
            self._change(branch, "erase", {}, lambda child: objects.delete(self.repository, child, paths))

    def _free(self, kept: Collection[Version], dry_run: bool = False) -> int:
        """Remove from this machine what only other versions have; bytes."""
        here = {version.data_version for version in kept if self.cache.object(version.data_version).exists()}
        return keep_only(self.cache, here, dry_run)
