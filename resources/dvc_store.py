"""The embedded version store: a DVC repository on a bare Git repository, with no work tree and no server.

    store/repo.git      branches, commits; each tree has `<asset>.dvc` (DVC's own pointer) and `<asset>.json` (metadata)
    store/cache/        file contents in DVC's layout, `files/md5/xx/…`, read-only
    store/checkouts/    read-only folders of hard links into the cache, one per data version

`git clone repo.git && dvc pull` gives the same files. References move by compare-and-swap under a file lock that the
kernel drops when its holder dies, so a killed writer blocks nobody and leaves the old state or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from resources import git
from resources.store import MAIN, Version

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo
    from dvc_data.hashfile.db.local import LocalHashFileDB


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
        pointer = self._store_files(asset, directory)
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
        return version if version and self._complete(version) else None

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
        target = self.root / "checkouts" / version.data_version
        if not target.exists():
            files = self._verified(version)
            partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
            for path, source in files:
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                os.link(source, partial / path)
            try:
                partial.rename(target)
            except OSError:  # another process was first
                shutil.rmtree(partial, ignore_errors=True)
        return target

    def verify(self, version: Version) -> None:
        self._verified(version)

    def publish(self, branch: str, message: str) -> str | None:
        with self._locked() as repo:
            head, base, main = (git.read_ref(repo, name) for name in (_branch(branch), _base(branch), _branch(MAIN)))
            if head is None or base is None or main is None:
                raise UserError(f"branch {branch!r} is not in the store: there is nothing to publish")
            before, after, merged = (git.files_at(repo, commit) for commit in (base, head, main))
            changed = {name: blob for name, blob in after.items() if before.get(name) != blob}
            if all(merged.get(name) == blob for name, blob in changed.items()):
                return None
            commit = git.write_commit(repo, merged | changed, [main, head], message)
            for name in (_branch(MAIN), f"refs/tags/{branch}", _base(branch), _branch(branch)):
                git.move_ref(repo, name, commit)
            return commit.decode()

    def history(self, asset: str) -> list[Version]:
        found: list[Version] = []
        with self._repo() as repo:
            commit = git.read_ref(repo, _branch(MAIN))
            while commit is not None:
                if _name(asset, "dvc") in git.files_at(repo, commit):
                    version = _version(repo, commit, asset)
                    if found and found[-1].fingerprint == version.fingerprint:
                        found.pop()  # the older commit is the one that brought it
                    found.append(version)
                parents = git.commit_at(repo, commit).parents
                commit = parents[0] if parents else None
        return found

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
        config = f"[core]\n    remote = store\n    autostage = false\n['remote \"store\"']\n    url = {self._cache}\n"
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

    # -- file contents ---------------------------------------------------------------------------------------------

    @property
    def _cache(self) -> Path:
        return self.root / "cache"

    def _object(self, digest: str) -> Path:
        return self._cache / "files" / "md5" / digest[:2] / digest[2:]

    def _db(self) -> LocalHashFileDB:
        from dvc_data.hashfile.db.local import LocalHashFileDB
        from dvc_objects.fs.local import localfs

        return LocalHashFileDB(localfs, str(self._cache / "files" / "md5"), tmp_dir=str(self.root / "tmp"))

    def _store_files(self, asset: str, directory: Path) -> bytes:
        """Move the files into the cache; the text of the `.dvc` pointer to them."""
        from dvc_data.hashfile.build import build
        from dvc_data.hashfile.transfer import transfer
        from dvc_objects.fs.local import localfs

        db = self._db()
        staging, meta, tree = build(db, str(directory), localfs, "md5")
        self._drop_damaged(tree)
        transfer(staging, db, {tree.hash_info}, hardlink=True, shallow=False)
        return (
            f"outs:\n- md5: {tree.hash_info.value}\n  size: {meta.size}\n  nfiles: {meta.nfiles}\n"
            f"  hash: md5\n  path: {asset}\n"
        ).encode()

    def _drop_damaged(self, tree: Any) -> None:
        """An object already in the cache whose size is wrong was cut short: make room for the good one."""
        for _, meta, digest in tree:
            path = self._object(digest.value)
            if path.exists() and meta is not None and path.stat().st_size != meta.size:
                path.unlink()

    def _manifest(self, version: Version) -> list[tuple[str, str]]:
        """(relative path, md5) of every file of a version."""
        listing = self._object(version.data_version)
        if not listing.exists() or f"{_md5(listing)}.dir" != version.data_version:
            raise UserError(
                f"{version.asset} version {version.data_version}: its file list is damaged or missing in the store. "
                f"Materialize {version.asset} again."
            )
        return [(entry["relpath"], entry["md5"]) for entry in json.loads(listing.read_bytes())]

    def _verified(self, version: Version) -> list[tuple[str, Path]]:
        """(relative path, stored file) of every file of a version, each read and found as it was written."""
        files = []
        for path, digest in self._manifest(version):
            stored = self._object(digest)
            if not stored.exists() or _md5(stored) != digest:
                raise UserError(
                    f"{version.asset} version {version.data_version}: stored file {path} ({stored}) is "
                    f"{'damaged' if stored.exists() else 'missing'}. Remove it and run again: {version.asset} is "
                    "then computed anew."
                )
            files.append((path, stored))
        return files

    def _complete(self, version: Version) -> bool:
        try:
            return all(self._object(digest).exists() for _, digest in self._manifest(version))
        except UserError:
            return False


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _name(asset: str, kind: str) -> bytes:
    return f"{asset}.{kind}".encode()


def _branch(name: str) -> str:
    return f"refs/heads/{name}"


def _base(branch: str) -> str:
    """Where a branch began, or was last published: what it changed since then is what it has to publish."""
    return f"refs/bases/{branch}"


def _fingerprint(asset: str, fingerprint: str) -> str:
    return f"refs/fingerprints/{asset}/{fingerprint}"


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
