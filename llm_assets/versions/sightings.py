"""Who saw a row: every artifact and model version that holds it, was trained on it or measured with it.

Tables are asked themselves (ids, parents, `document_id`), with Arrow on their columns; from there on the recorded
inputs are followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_assets.artifacts import DOCUMENTS, PAIRS, REJECTED, open_table
from llm_assets.errors import UserError
from llm_assets.graph import NODES, topological
from llm_assets.versions.names import PACKAGE_ASSET, assets_of, distinct, release_names
from resources.store import ManagedStore, Version

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE = "source:"
TABLES = (DOCUMENTS, REJECTED, PAIRS)
COLUMNS = ("id", "parents", "source", "split", "content_hash", "document_id")

How = Literal["holds", "trained on", "measured with", "derived from"]


@dataclass(frozen=True)
class Sighting:
    """One version that saw the rows.

    how: `holds` (a table with them in it), `trained on` (a model that learned from them, itself or through another
    model), `measured with` (a model or report that was judged or chosen with them), `derived from` (made from
    something that saw them). splits: of the rows in it, or in the tables it read. through: the inputs that had them.
    """

    version: Version
    how: How
    splits: Mapping[str, int]
    through: tuple[str, ...]
    releases: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(self.splits.values())


@dataclass
class Sightings:
    """ids: of the rows asked for, and of all that were made from them. hashes: of the contents of all these.

    packages: those of the endpoint that saw them, by digest. unread: versions whose contents cannot be read any more.
    """

    name: str
    ids: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)
    seen: list[Sighting] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    unread: list[Version] = field(default_factory=list)


def sightings(store: ManagedStore, home: Path, name: str, hashes: Collection[str] = ()) -> Sightings:
    """Who saw the row with the id or content hash `name`, or the rows of `source:<name>` (its full name, or the part
    before a colon: `source:python` is every installed package), or a row with one of the content hashes.

    Raises UserError when no table that can be read has such a row.
    """
    found = Sightings(name)
    wanted = _matcher(name, hashes)
    names = release_names(store)
    states: dict[tuple[str, str], Sighting] = {}
    order = {asset: at for at, asset in enumerate(topological(NODES))}
    for asset in sorted(assets_of(store), key=lambda asset: (order.get(asset, len(order)), asset)):
        for version in distinct(store.versions(asset)):
            splits: Counter[str] = Counter()
            if set(_files(version)) & set(TABLES):
                try:
                    splits = _rows_in(store.checkout(version), wanted, found)
                except UserError:
                    found.unread.append(version)
                    continue
            releases = tuple(names.get((asset, version.data_version), ()))
            sighting = _judge(version, splits, states, releases)
            if sighting is not None:
                states[asset, version.data_version] = sighting
                found.seen.append(sighting)
    if not found.seen:
        raise UserError(f"no row {name!r} in any table of the store. {_sources_text(store)}")
    digests = {s.version.data_version for s in found.seen if s.version.asset == PACKAGE_ASSET}
    folder = home / "endpoint" / "packages"
    found.packages = sorted(path.name for path in folder.iterdir() if path.name in digests) if folder.is_dir() else []
    return found


def kind_of(version: Version) -> Literal["table", "model", "report"]:
    """What an artifact is, by the files it was recorded with."""
    files = _files(version)
    if set(files) & set(TABLES):
        return "table"
    weights = (".safetensors", ".onnx", "tokenizer.json")
    return "model" if any(name.endswith(weights) for name in files) else "report"


def batches(path: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Those of `columns` that a Parquet file has, in batches."""
    with open_table(path) as file:
        have = [name for name in columns if name in file.schema_arrow.names]
        yield from file.iter_batches(columns=have, batch_size=50_000)


def _judge(
    version: Version, splits: Counter[str], states: Mapping[tuple[str, str], Sighting], releases: tuple[str, ...]
) -> Sighting | None:
    """What a version has to do with the rows; `splits`: the rows in it, if it is a table."""
    inputs = {
        name: states[name, origin["data_version"]]
        for name, origin in version.inputs.items()
        if (name, origin["data_version"]) in states
    }
    through = tuple(sorted(inputs))
    if splits:
        return Sighting(version, "holds", splits, through, releases)
    if not inputs:
        return None
    read: Counter[str] = Counter()
    for state in inputs.values():
        if state.how == "holds":
            for split, rows in state.splits.items():
                read[split] = max(read[split], rows)  # the tables read are stages of the same rows
    kind = kind_of(version)
    how: How = "derived from"
    if kind == "model" and (read["train"] or any(state.how == "trained on" for state in inputs.values())):
        how = "trained on"
    elif read or (kind == "model" and any(state.how == "measured with" for state in inputs.values())):
        how = "measured with"
    return Sighting(version, how, dict(read), through, releases)


def _rows_in(folder: Path, wanted: Callable[[pa.RecordBatch], Any], found: Sightings) -> Counter[str]:
    """The rows of a version's tables that are asked for, or made from such; `found.ids` and `.hashes` grow by them."""
    while True:
        before, splits = len(found.ids), Counter[str]()
        for name in TABLES:
            if (folder / name).exists():
                for batch in batches(folder / name, COLUMNS):
                    _rows_of(batch, wanted, found, splits, "rejected" if name == REJECTED else "unsplit")
        if len(found.ids) == before:  # else a row made from one of them may have come before it
            return splits


def _rows_of(
    batch: pa.RecordBatch,
    wanted: Callable[[pa.RecordBatch], Any],
    found: Sightings,
    splits: Counter[str],
    unsplit: str,
) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(sorted(found.ids), pa.string())
    hit = pc.or_(wanted(batch), pc.is_in(batch["id"], known))
    if "document_id" in batch.schema.names:
        hit = pc.or_(hit, pc.is_in(batch["document_id"], known))
    if "parents" in batch.schema.names:
        parents = batch["parents"]
        rows = pc.list_parent_indices(parents).filter(pc.is_in(pc.list_flatten(parents), known))
        hit = pc.or_(hit, pc.is_in(pa.array(range(batch.num_rows), pa.int64()), rows.cast(pa.int64())))
    if "content_hash" in batch.schema.names:
        found.hashes |= set(batch["content_hash"].filter(hit).to_pylist())
    found.ids |= set(batch["id"].filter(hit).to_pylist())
    splits.update(split or unsplit for split in batch["split"].filter(hit).to_pylist())


def _matcher(name: str, hashes: Collection[str]) -> Callable[[pa.RecordBatch], Any]:
    """batch -> whether each row is asked for by `name`, or has one of the content hashes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(sorted(hashes), pa.string())
    source = name.removeprefix(SOURCE)

    def asked(batch: pa.RecordBatch) -> Any:
        if "content_hash" not in batch.schema.names:  # pairs: by their documents' ids
            return pc.is_in(batch["id"], pa.array([name]))
        hit = pc.is_in(batch["content_hash"], known)
        if name.startswith(SOURCE):
            return pc.or_(hit, pc.or_(pc.equal(batch["source"], source), pc.starts_with(batch["source"], f"{source}:")))
        return pc.or_(hit, pc.or_(pc.equal(batch["id"], name), pc.equal(batch["content_hash"], name)))

    return asked


def _files(version: Version) -> Mapping[str, int]:
    files: Mapping[str, int] = version.metadata.get("files", {})
    return files


def _sources_text(store: ManagedStore) -> str:
    """The sources that there are, for whoever asked for one that is not."""
    from llm_assets.versions.lineage import count_origins

    for version in store.versions("raw_documents")[:1]:
        sources = {origin.source for origin in count_origins(store.checkout(version) / DOCUMENTS)}
        return f"A row is named by its id or content hash; sources: {', '.join(sorted(sources)[:20])}."
    return "There is no raw_documents yet: `llm-assets run` makes it."
