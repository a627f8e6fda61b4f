"""The embedded version store: a DVC repository on a bare Git repository, with no work tree and no server.

    store/repo.git      branches, commits; each tree has `<asset>.dvc` (DVC's own pointer) and `<asset>.json` (metadata)
    store/cache/        file contents in DVC's layout, `files/md5/xx/…`, read-only
    store/checkouts/    read-only folders of hard links into the cache, one per data version

`git clone repo.git && dvc pull` gives the same files. References move by compare-and-swap under a file lock that the
kernel drops when its holder dies, so a killed writer blocks nobody and leaves the old state or the new one. Contents,
then objects, then references reach the disk, so what a reference leads to is there after a power cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from resources import git
from resources.cache import ContentCache
from resources.durable import Unsynced, sync_all
from resources.dvc_records import (
    Entry,
    assets_at,
    base_ref,
    branch_ref,
    entries,
    erased_ref,
    pointer,
    read_release,
    read_version,
    record,
    release_message,
    releases_from,
    tag_ref,
    tree_files,
    version_ref,
)
from resources.dvc_repo import first_commit, locked, opened, settle
from resources.dvc_upkeep import carry_out, listed, live_contents, plan_collection
from resources.removal import keep_only
from resources.store import MAIN, Branch, Garbage, Release, Version

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo


@dataclass(frozen=True)
class DvcStore:
    """A `ManagedStore` in the folder `root` (made when it is not there)."""

    root: Path

    # -- what runs need ----------------------------------------------------------------------------------------------

    def open_branch(self, branch: str) -> None:
        with locked(self.root) as repo:
            if git.read_ref(repo, branch_ref(branch)) is None:
                unsynced: Unsynced = set()
                main = git.read_ref(repo, branch_ref(MAIN)) or first_commit(repo, self.root / "cache", unsynced)
                git.move_ref(repo, base_ref(branch), main, unsynced)
                git.move_ref(repo, branch_ref(branch), main, unsynced)
                sync_all(unsynced)

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
        with self._cache.using():
            unsynced: Unsynced = set()
            data_version, size, count = self._cache.add(directory, unsynced)
            with opened(self.root) as repo:
                entry = (
                    git.write_blob(repo, pointer(asset, data_version, size, count), unsynced),
                    git.write_blob(repo, record(asset, fingerprint, inputs, metadata), unsynced),
                )
            return self._commit(branch, asset, entry, unsynced)

    def adopt(self, branch: str, version: Version) -> Version:
        with self._cache.using():
            with opened(self.root) as repo:
                entry = assets_at(repo, version.commit.encode())[version.asset]
                head = git.read_ref(repo, branch_ref(branch))
                self._refuse_unreadable(repo, version)
                if head and assets_at(repo, head).get(version.asset) == entry:
                    return version
            return self._commit(branch, version.asset, entry, set())

    def find(self, asset: str, fingerprint: str) -> Version | None:
        with opened(self.root) as repo:
            try:
                found = listed(repo, f"{asset}/{fingerprint}/")
            except UserError:  # damaged beyond repair: computing it anew writes all of it anew
                return None
            for version in found:
                erased = git.read_ref(repo, erased_ref(version)) is not None
                if not erased and self._cache.complete(asset, version.data_version):
                    return version
        return None

    def heads(self, ref: str) -> dict[str, Version]:
        with opened(self.root) as repo:
            commit = self._resolve(repo, ref)
            if commit is None:
                return {}
            return {asset: read_version(repo, commit, asset, entry) for asset, entry in assets_at(repo, commit).items()}

    def checkout(self, version: Version) -> Path:
        with opened(self.root) as repo:
            self._refuse_erased(repo, version)
        return self._cache.checkout(version.asset, version.data_version)

    def publish(self, branch: str, message: str) -> Release | None:
        with locked(self.root) as repo:
            head, main = (git.read_ref(repo, branch_ref(name)) for name in (branch, MAIN))
            if head is None or main is None:
                raise UserError(f"branch {branch!r} is not in the store: there is nothing to publish")
            merged = self._merged(repo, branch)
            if merged == assets_at(repo, main):
                return None
            last = read_release(repo, main)
            name = f"v{int(last.name[1:]) + 1 if last else 1}"
            files = tree_files(git.files_at(repo, main), merged)
            unsynced: Unsynced = set()
            commit = git.write_commit(repo, files, [main, head], release_message(name, branch, message), unsynced)
            sync_all(unsynced)
            git.move_ref(repo, branch_ref(MAIN), commit, unsynced)
            sync_all(unsynced)
            settle(repo)
            return read_release(repo, commit)

    def releases(self) -> list[Release]:
        with opened(self.root) as repo:
            return releases_from(repo, git.read_ref(repo, branch_ref(MAIN)))

    # -- what people's commands need ---------------------------------------------------------------------------------

    def versions(self, asset: str) -> list[Version]:
        with opened(self.root) as repo:
            return listed(repo, f"{asset}/")

    def branches(self) -> list[Branch]:
        with opened(self.root) as repo:
            main = git.read_ref(repo, branch_ref(MAIN))
            published = assets_at(repo, main) if main else {}
            found = []
            for ref in git.refs_under(repo, branch_ref("")):
                name, head = ref.removeprefix(branch_ref("")), git.read_ref(repo, ref)
                if name != MAIN and head:
                    at = float(git.commit_at(repo, head).commit_time)
                    found.append(Branch(name, at, self._merged(repo, name) == published))
        return sorted(found, key=lambda branch: (-branch.at, branch.name))

    def reset(self, branch: str, ref: str) -> None:
        with self._cache.using(), locked(self.root) as repo:
            head, main = (git.read_ref(repo, branch_ref(name)) for name in (branch, MAIN))
            wanted = self._resolve(repo, ref)
            if head is None or main is None or branch == MAIN:
                raise UserError(f"branch {branch!r} is not a run's branch in the store: open it before resetting it")
            if wanted is None:
                raise UserError(f"{ref!r} is no release, branch or commit of the store")
            assets = assets_at(repo, wanted)
            for asset, entry in assets.items():
                self._refuse_unreadable(repo, read_version(repo, wanted, asset, entry))
            files = tree_files(git.files_at(repo, main), assets)
            unsynced: Unsynced = set()
            commit = git.write_commit(repo, files, [head], f"reset to {ref}\n\nbranch: {branch}", unsynced)
            sync_all(unsynced)
            git.move_ref(repo, base_ref(branch), main, unsynced)  # what `main` has gained since is to go as well
            git.move_ref(repo, branch_ref(branch), commit, unsynced)
            sync_all(unsynced)

    def forget(self, versions: Collection[Version]) -> int:
        with self._cache.removing(), locked(self.root) as repo:
            unsynced: Unsynced = set()
            for version in versions:
                commit = git.read_ref(repo, version_ref(version)) or version.commit.encode()
                git.move_ref(repo, erased_ref(version), git.commit_at(repo, commit).id, unsynced)
            sync_all(unsynced)
            for version in versions:
                git.remove_ref(repo, version_ref(version), unsynced)
            sync_all(unsynced)
            return keep_only(self._cache, live_contents(repo))

    def collect(self, keep: Collection[str], dry_run: bool = False) -> Garbage:
        with self._cache.removing(), locked(self.root) as repo:
            plan = plan_collection(repo, keep)
            freed = keep_only(self._cache, plan.data_versions, dry_run=True)
            if not dry_run:
                carry_out(repo, plan)
                keep_only(self._cache, plan.data_versions)
            freed += git.prune(repo, plan.objects, dry_run)
            return Garbage(plan.branches, plan.versions, freed)

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _cache(self) -> ContentCache:
        return ContentCache(self.root)

    def _commit(self, branch: str, asset: str, entry: Entry, unsynced: Unsynced) -> Version:
        with locked(self.root) as repo:
            head = git.read_ref(repo, branch_ref(branch))
            if head is None or branch == MAIN:
                raise UserError(f"branch {branch!r} is not a run's branch in the store: open it before writing {asset}")
            files = git.files_at(repo, head)
            files = tree_files(files, entries(files) | {asset: entry})
            commit = git.write_commit(repo, files, [head], f"{asset}\n\nbranch: {branch}", unsynced)
            version = read_version(repo, commit, asset, entry)
            sync_all(unsynced)
            git.remove_ref(repo, erased_ref(version), unsynced)
            git.move_ref(repo, version_ref(version), commit, unsynced)
            git.move_ref(repo, branch_ref(branch), commit, unsynced)
            sync_all(unsynced)
        return version

    def _merged(self, repo: Repo, branch: str) -> dict[str, Entry]:
        """What `main` would hold after `branch` is published: asset by asset, one of the two has its way, whole."""
        refs = base_ref(branch), branch_ref(branch), branch_ref(MAIN)
        before, after, main = (
            assets_at(repo, commit) if commit else {} for commit in (git.read_ref(repo, r) for r in refs)
        )
        changed = {asset: entry for asset, entry in after.items() if before.get(asset) != entry}
        gone = before.keys() - after.keys()
        return {asset: entry for asset, entry in (main | changed).items() if asset not in gone}

    def _resolve(self, repo: Repo, ref: str) -> ObjectID | None:
        """The commit that a branch, release or commit id names."""
        commit = git.read_ref(repo, branch_ref(ref)) or git.read_ref(repo, tag_ref(ref))
        if commit is None and (main := git.read_ref(repo, branch_ref(MAIN))):
            newest = read_release(repo, main)
            if newest and newest.name == ref:
                return main  # its publisher died before it set the tag
        if commit is None and len(ref) == 40 and git.known(repo, ref.encode()):
            return git.commit_at(repo, ref.encode()).id
        return commit

    def _refuse_erased(self, repo: Repo, version: Version) -> None:
        if git.read_ref(repo, erased_ref(version)) is not None:
            raise UserError(
                f"{version.asset} version {version.data_version} was erased: the store names it, and cannot read it. "
                f"Materialize {version.asset} again, or read another version."
            )

    def _refuse_unreadable(self, repo: Repo, version: Version) -> None:
        self._refuse_erased(repo, version)
        if not self._cache.complete(version.asset, version.data_version):
            raise UserError(
                f"{version.asset} version {version.data_version} is no longer whole in the store. Run again: "
                f"{version.asset} is then computed anew."
            )
