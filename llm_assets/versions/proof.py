"""The proof of an erasure: everything that is kept is read, and what of the rows is still there is named."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_assets.artifacts import open_table
from llm_assets.data.erasure import FILE as ERASED
from llm_assets.errors import UserError
from llm_assets.versions.fragments import ESCAPES, Fragments, holds
from llm_assets.versions.names import assets_of, distinct
from llm_assets.versions.sightings import kind_of
from resources.store import ManagedStore, Version

JOURNALS = "erasures"
BINARY = {".safetensors", ".onnx", ".data", ".lock", ".pid"}  # weights and locks: no records of rows
OURS = ("store", "lakefs", JOURNALS, ERASED)  # a store's contents are read as versions; the lists name ids by design
BATCH = 5_000
NAME = re.compile(r"[0-9A-Za-z]+")  # ids and hashes, wherever in a text they are


@dataclass(frozen=True)
class Trace:
    """Something that is still there. where: a file, or asset@version and its file. what: what was found."""

    where: str
    what: str


@dataclass
class Proof:
    """scanned: kind of thing -> how many were read. found: what is still there; the erasure holds when it is empty."""

    scanned: Counter[str] = field(default_factory=Counter)
    found: list[Trace] = field(default_factory=list)


def prove(
    store: ManagedStore,
    home: Path,
    ids: Collection[str],
    hashes: Collection[str],
    wanted: Fragments,
    gone: Collection[tuple[str, str]],
) -> Proof:
    """Read every file of every version that can be read, and all of the state folder, for ids, content hashes and
    runs of words of the erased texts.

    gone: (asset, data version) of what saw the rows; no version that can be read may have been made from one.
    """
    proof, names = Proof(), set(ids) | set(hashes)
    for version in _readable(store, gone, proof):
        label = f"{version.asset}@{version.data_version[:12]}"
        folder = store.checkout(version)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            _scan(path, f"{label}/{path.relative_to(folder)}", names, wanted, proof)
        _strings(version.metadata, f"{label}'s record", names, wanted, proof)
        proof.scanned["records of versions"] += 1
        if kind_of(version) == "model":
            proof.scanned["models, by what they were made from"] += 1
        for name, origin in version.inputs.items():
            if (name, origin["data_version"]) in gone:
                proof.found.append(Trace(label, f"it was made from {name}@{origin['data_version'][:12]}"))
    for release in store.releases():
        for version in store.heads(release.commit).values():
            _strings(version.metadata, f"{version.asset}@{release.name}'s record", names, wanted, proof)
            proof.scanned["records in the history of main"] += 1
    for path in _state_files(home):
        _scan(path, str(path.relative_to(home)), names, wanted, proof)
    return proof


def _readable(store: ManagedStore, gone: Collection[tuple[str, str]], proof: Proof) -> Iterator[Version]:
    for asset in assets_of(store):
        for version in distinct(store.versions(asset)):
            label = f"{asset}@{version.data_version[:12]}"
            if (asset, version.data_version) in gone:
                proof.found.append(Trace(label, "it saw the rows and is still in the store"))
                continue
            try:
                store.checkout(version)
            except UserError as error:
                proof.found.append(Trace(label, f"it cannot be read: {error}"))
                continue
            proof.scanned["versions"] += 1
            yield version


def _state_files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home)
        if path.is_file() and inside.parts[0] not in OURS and path.suffix not in BINARY:
            yield path


def _scan(path: Path, where: str, names: set[str], wanted: Fragments, proof: Proof) -> None:
    if path.suffix in BINARY:
        return
    if path.suffix == ".parquet":
        proof.scanned["tables"] += 1
        _scan_table(path, where, names, wanted, proof)
        return
    text = path.read_bytes().decode("utf-8", "ignore")
    if path.suffix == ".json":
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        proof.scanned["JSON files"] += 1
        _strings(value, where, names, wanted, proof)
    else:
        proof.scanned["Dagster's databases" if path.suffix.startswith(".db") else "other files"] += 1
        _one(text, where, names, wanted, proof)


def _scan_table(path: Path, where: str, names: set[str], wanted: Fragments, proof: Proof) -> None:
    with open_table(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            proof.scanned["rows of tables"] += batch.num_rows
            for column in batch.schema.names:
                for at, value in enumerate(batch[column].to_pylist()):
                    if isinstance(value, str):
                        if value in names:
                            proof.found.append(Trace(f"{where}, {column}", value))
                        elif len(value) > 16 and holds(value, wanted):
                            proof.found.append(Trace(f"{where}, {column} of row {at}", "a part of the text"))
                    elif isinstance(value, list) and not names.isdisjoint(item for item in value if item):
                        proof.found.append(Trace(f"{where}, {column} of row {at}", "an id"))


def _strings(value: Any, where: str, names: set[str], wanted: Fragments, proof: Proof) -> None:
    """All texts in a JSON value, keys too; each is looked at by itself."""
    if isinstance(value, str):
        _one(value, where, names, wanted, proof)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _strings(key, where, names, wanted, proof)
            _strings(item, where, names, wanted, proof)
    elif isinstance(value, list | tuple):
        for item in value:
            _strings(item, where, names, wanted, proof)


def _one(text: str, where: str, names: set[str], wanted: Fragments, proof: Proof) -> None:
    if text in names or not names.isdisjoint(NAME.findall(ESCAPES.sub(" ", text))):
        proof.found.append(Trace(where, "an id or content hash"))
    elif holds(text, wanted):
        proof.found.append(Trace(where, "a part of the text"))
