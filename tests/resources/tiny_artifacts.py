"""Artifacts of two small files, for the tests of the stores."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from resources.store import ManagedStore, Version, VersionStore


def write(store: VersionStore, branch: str, asset: str, text: str, fingerprint: str, **inputs: Version) -> Version:
    """Commit an artifact whose two files say `text`."""
    folder = Path(tempfile.mkdtemp(prefix="artifact-"))
    try:
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "sub" / "b.bin").write_bytes(text.encode() * 3)
        return store.write(branch, asset, folder, fingerprint=fingerprint, inputs=inputs, metadata={"summary": {}})
    finally:
        shutil.rmtree(folder)


def text_of(store: VersionStore, version: Version) -> str:
    """What both files of the artifact say."""
    folder = store.checkout(version)
    text = (folder / "a.txt").read_text()
    assert (folder / "sub" / "b.bin").read_bytes() == text.encode() * 3
    assert sorted(path.name for path in folder.rglob("*")) == ["a.txt", "b.bin", "sub"]
    return text


def texts(store: VersionStore, ref: str) -> dict[str, str]:
    """asset -> what it says at `ref`, every object verified."""
    return {asset: text_of(store, version) for asset, version in store.heads(ref).items()}


def publish(store: ManagedStore, branch: str, **assets: str) -> None:
    """A run that writes `assets` (name -> text) and is published."""
    store.open_branch(branch)
    for asset, text in assets.items():
        write(store, branch, asset, text, f"{asset}-{text}")
    store.publish(branch, branch)


def stored_file(folder: Path, content: bytes) -> Path:
    """The object in the cache under `folder` with this content."""
    return next(path for path in folder.rglob("files/md5/*/*") if path.read_bytes() == content)
