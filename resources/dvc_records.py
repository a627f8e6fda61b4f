"""How the embedded store writes down versions and releases: names of references, pointers, records, trailers.

refs/heads/<branch>                       `main` and the runs' branches
refs/bases/<branch>                       `main` when the branch began, or was last published
refs/tags/v<n>                            releases
refs/versions/<asset>/<fingerprint>/<md5> the commit that wrote a version: what the store lists, and finds
refs/erased/<asset>/<fingerprint>/<md5>   the same of a version that was erased
refs/lineage/<commit>                     commits that kept versions were computed from, and nothing else leads to
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resources import git
from resources.cache import LIST
from resources.store import Release, Version

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo

RELEASE, BRANCH = "release: ", "branch: "
Entry = tuple["ObjectID", "ObjectID"]  # of one asset in a tree: DVC's pointer, and the record


def branch_ref(name: str) -> str:
    return f"refs/heads/{name}"


def base_ref(branch: str) -> str:
    return f"refs/bases/{branch}"


def tag_ref(release: str) -> str:
    return f"refs/tags/{release}"


def version_ref(version: Version) -> str:
    return f"refs/versions/{_key(version)}"


def erased_ref(version: Version) -> str:
    return f"refs/erased/{_key(version)}"


def _key(version: Version) -> str:
    return f"{version.asset}/{version.fingerprint}/{version.data_version.removesuffix(LIST)}"


def pointer(asset: str, data_version: str, size: int, count: int) -> bytes:
    """`<asset>.dvc`, as DVC writes it for a folder."""
    return f"outs:\n- md5: {data_version}\n  size: {size}\n  nfiles: {count}\n  hash: md5\n  path: {asset}\n".encode()


def record(asset: str, fingerprint: str, inputs: Mapping[str, Version], metadata: Mapping[str, Any]) -> bytes:
    """`<asset>.json`: all of a version but its files. `written` orders the versions of an asset."""
    return json.dumps(
        {
            "asset": asset,
            "fingerprint": fingerprint,
            "inputs": {
                name: {"data_version": version.data_version, "commit": version.commit}
                for name, version in sorted(inputs.items())
            },
            "metadata": metadata,
            "written": time.time(),
        },
        sort_keys=True,
    ).encode()


def entries(files: Mapping[bytes, ObjectID]) -> dict[str, Entry]:
    """asset -> its entry, of a tree's files."""
    names = [name.removesuffix(b".dvc") for name in files if name.endswith(b".dvc") and name != b".dvc"]
    return {name.decode(): (files[name + b".dvc"], files[name + b".json"]) for name in sorted(names)}


def tree_files(files: Mapping[bytes, ObjectID], assets: Mapping[str, Entry]) -> dict[bytes, ObjectID]:
    """A tree's files with exactly these assets; DVC's own configuration stays."""
    known = entries(files)
    found = {name: item for name, item in files.items() if name.rpartition(b".")[0].decode() not in known}
    for asset, (pointer_blob, record_blob) in assets.items():
        found[f"{asset}.dvc".encode()], found[f"{asset}.json".encode()] = pointer_blob, record_blob
    return found


def assets_at(repo: Repo, commit: bytes) -> dict[str, Entry]:
    return entries(git.files_at(repo, commit))


def read_version(repo: Repo, commit: bytes, asset: str, entry: Entry) -> Version:
    lines = git.read_blob(repo, entry[0]).decode().splitlines()
    found = json.loads(git.read_blob(repo, entry[1]))
    return Version(
        asset=asset,
        data_version=next(line.split(": ")[1] for line in lines if line.startswith("- md5: ")),
        commit=commit.decode(),
        fingerprint=found["fingerprint"],
        inputs=found["inputs"],
        metadata=found["metadata"],
    )


def written_at(repo: Repo, entry: Entry) -> float:
    """Seconds since the epoch."""
    return float(json.loads(git.read_blob(repo, entry[1]))["written"])


def release_message(name: str, branch: str, message: str) -> str:
    return f"{message}\n\n{RELEASE}{name}\n{BRANCH}{branch}"


def read_release(repo: Repo, commit: bytes) -> Release | None:
    """What a commit of `main` published; None for the first one, which published nothing."""
    found = git.commit_at(repo, commit)
    message, mark, trailer = found.message.decode().rpartition(f"\n\n{RELEASE}")
    if not mark:
        return None
    name, branch = trailer.split(f"\n{BRANCH}")
    return Release(name, commit.decode(), float(found.commit_time), branch, message)


def releases_from(repo: Repo, commit: bytes | None) -> list[Release]:
    """The first-parent history, newest first."""
    found = []
    while commit is not None:
        release = read_release(repo, commit)
        if release:
            found.append(release)
        parents = git.commit_at(repo, commit).parents
        commit = parents[0] if parents else None
    return found
