"""The embedded version store: a DVC repository on a bare Git repository, with no work tree and no server.

    store/repo.git      branches, commits; each tree has `<asset>.dvc` (DVC's own pointer) and `<asset>.json` (metadata)
    store/cache/        file contents in DVC's layout, `files/md5/xx/…`, read-only
    store/checkouts/    read-only folders of hard links into the cache, one per data version

`git clone repo.git && dvc pull` gives the same files. References move by compare-and-swap under a file lock that the
kernel drops when its holder dies, so a killed writer blocks nobody and leaves the old state or the new one.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from resources import git
from resources.cache import ContentCache
from resources.store import MAIN, Release, Version

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo

RELEASE, BRANCH = "release: ", "branch: "


@dataclass(frozen=True)
class DvcStore:
    """A `VersionStore` in the folder `root` (made when it is not there)."""

    root: Path

    # -- the contract ---------------------------------------------------------------------------------------------

    def open_branch(self, branch: str) -> None:
        with self._locked() as repo:
            if git.read_ref(repo, _branch(branch)) is None:
                main = git.read_ref(repo, _branch(MAIN)) or self._initialise(repo)
                git.move_ref(repo, _base(branch), main)
                git.move_ref(repo, _branch(branch), main)

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
        if not any(directory.iterdir()):
            raise UserError(f"{asset} wrote no file: an artifact holds at least one")
        data_version, size, count = self._cache.add(directory)
        pointer = (
            f"outs:\n- md5: {data_version}\n  size: {size}\n  nfiles: {count}\n  hash: md5\n  path: {asset}\n"
        ).encode()
        record = {
            "asset": asset,
            "fingerprint": fingerprint,
            "inputs": {
                name: {"data_version": version.data_version, "commit": version.commit}
                for name, version in sorted(inputs.items())
            },
            "metadata": metadata,
        }
        return self._commit(branch, asset, pointer, json.dumps(record, sort_keys=True).encode())

    def adopt(self, branch: str, version: Version) -> Version:
        with self._repo() as repo:
            files = git.files_at(repo, version.commit.encode())
            pointer, record = (git.read_blob(repo, files[_name(version.asset, kind)]) for kind in ("dvc", "json"))
            head = git.read_ref(repo, _branch(branch))
            here = git.files_at(repo, head) if head else {}
        if all(here.get(_name(version.asset, k)) == files[_name(version.asset, k)] for k in ("dvc", "json")):
            return version
        return self._commit(branch, version.asset, pointer, record)

    def find(self, asset: str, fingerprint: str) -> Version | None:
        with self._repo() as repo:
            commit = git.read_ref(repo, _fingerprint(asset, fingerprint))
            version = _version(repo, commit, asset) if commit else None
        return version if version and self._cache.complete(asset, version.data_version) else None

    def heads(self, ref: str) -> dict[str, Version]:
        with self._repo() as repo:
            commit: bytes | None = git.read_ref(repo, _branch(ref)) or git.read_ref(repo, f"refs/tags/{ref}")
            if commit is None and len(ref) == 40 and ref.encode() in repo:
                commit = ref.encode()
            if commit is None:
                return {}
            pointers = [name for name in git.files_at(repo, commit) if name.endswith(b".dvc") and name != b".dvc"]
            names = [name.removesuffix(b".dvc").decode() for name in pointers]
            return {name: _version(repo, commit, name) for name in sorted(names)}

    def checkout(self, version: Version) -> Path:
        return self._cache.checkout(version.asset, version.data_version)

    def publish(self, branch: str, message: str) -> Release | None:
        with self._locked() as repo:
            head, base, main = (git.read_ref(repo, name) for name in (_branch(branch), _base(branch), _branch(MAIN)))
            if head is None or base is None or main is None:
                raise UserError(f"branch {branch!r} is not in the store: there is nothing to publish")
            before, after, merged = (git.files_at(repo, commit) for commit in (base, head, main))
            changed = {name: blob for name, blob in after.items() if before.get(name) != blob}
            gone = before.keys() - after.keys()
            wanted = {name: blob for name, blob in (merged | changed).items() if name not in gone}
            if wanted == merged:
                return None
            last = _release(repo, main)
            name = f"v{int(last.name[1:]) + 1 if last else 1}"
            commit = git.write_commit(repo, wanted, [main, head], f"{message}\n\n{RELEASE}{name}\n{BRANCH}{branch}")
            # `main` is what counts; a kill before the others leaves a tag that the next publication sets.
            if last:
                git.move_ref(repo, f"refs/tags/{last.name}", main)
            for ref in (_branch(MAIN), f"refs/tags/{name}", _base(branch), _branch(branch)):
                git.move_ref(repo, ref, commit)
            return _release(repo, commit)

    def releases(self) -> list[Release]:
        found = []
        with self._repo() as repo:
            commit = git.read_ref(repo, _branch(MAIN))
            while commit is not None:
                release = _release(repo, commit)
                if release:
                    found.append(release)
                parents = git.commit_at(repo, commit).parents
                commit = parents[0] if parents else None
        return found

    @property
    def _cache(self) -> ContentCache:
        return ContentCache(self.root)

    # -- Git -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _repo(self) -> Iterator[Repo]:
        from dulwich.repo import Repo

        path = self.root / "repo.git"
        if not (path / "HEAD").exists():
            with self._locked():
                pass
        repo = Repo(str(path))
        try:
            yield repo
        finally:
            repo.close()

    @contextmanager
    def _locked(self) -> Iterator[Repo]:
        """The repository, with the right to move references."""
        from dulwich.refs import Ref
        from dulwich.repo import Repo

        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "repo.git"
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (path / "HEAD").exists():
                repo = Repo(str(path))
            else:
                shutil.rmtree(path, ignore_errors=True)  # an initialisation that was killed
                partial = self.root / "repo.git.partial"
                shutil.rmtree(partial, ignore_errors=True)
                Repo.init_bare(str(partial), mkdir=True).close()
                partial.rename(path)
                repo = Repo(str(path))
                repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(_branch(MAIN).encode()))
            try:
                yield repo
            finally:
                repo.close()

    def _initialise(self, repo: Repo) -> ObjectID:
        """The first commit: DVC's own configuration, with the cache as the default remote."""
        remote = f"['remote \"store\"']\n    url = {self.root / 'cache'}\n"
        config = f"[core]\n    remote = store\n    autostage = false\n{remote}"
        folder = git.write_folder(repo, {b"config": config.encode()})
        commit = git.write_commit(repo, {b".dvc": folder}, [], "llm-assets store")
        git.move_ref(repo, _branch(MAIN), commit)
        return commit

    def _commit(self, branch: str, asset: str, pointer: bytes, record: bytes) -> Version:
        with self._locked() as repo:
            head = git.read_ref(repo, _branch(branch))
            if head is None:
                raise UserError(f"branch {branch!r} is not in the store: open it before writing {asset}")
            files = git.files_at(repo, head) | {
                _name(asset, "dvc"): git.write_blob(repo, pointer),
                _name(asset, "json"): git.write_blob(repo, record),
            }
            commit = git.write_commit(repo, files, [head], f"{asset}\n\nbranch: {branch}")
            version = _version(repo, commit, asset)
            git.move_ref(repo, _fingerprint(asset, version.fingerprint), commit)
            git.move_ref(repo, _branch(branch), commit)
        return version


def _name(asset: str, kind: str) -> bytes:
    return f"{asset}.{kind}".encode()


def _branch(name: str) -> str:
    return f"refs/heads/{name}"


def _base(branch: str) -> str:
    """Where a branch began, or was last published: what it changed since then is what it has to publish."""
    return f"refs/bases/{branch}"


def _fingerprint(asset: str, fingerprint: str) -> str:
    return f"refs/fingerprints/{asset}/{fingerprint}"


def _release(repo: Repo, commit: bytes) -> Release | None:
    """What a commit of `main` published; None for the first one, which published nothing."""
    found = git.commit_at(repo, commit)
    message, mark, trailer = found.message.decode().rpartition(f"\n\n{RELEASE}")
    if not mark:
        return None
    name, branch = trailer.split(f"\n{BRANCH}")
    return Release(name, commit.decode(), float(found.commit_time), branch, message)


def _version(repo: Repo, commit: bytes, asset: str) -> Version:
    files = git.files_at(repo, commit)
    pointer = git.read_blob(repo, files[_name(asset, "dvc")]).decode()
    record = json.loads(git.read_blob(repo, files[_name(asset, "json")]))
    digest = next(line.split(": ")[1] for line in pointer.splitlines() if line.startswith("- md5: "))
    return Version(
        asset=asset,
        data_version=digest,
        commit=commit.decode(),
        fingerprint=record["fingerprint"],
        inputs=record["inputs"],
        metadata=record["metadata"],
    )
