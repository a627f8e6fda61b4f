"""What differs between two states, or between two versions of one asset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_assets.artifacts import SAMPLES, Scalar, read_json
from llm_assets.errors import UserError
from llm_assets.versions.diff_tables import TableDiff, diff_tables
from llm_assets.versions.diff_weights import WeightsDiff, diff_weights
from llm_assets.versions.history import Change, changes, moved_metrics
from llm_assets.versions.names import resolve
from llm_assets.versions.sightings import TABLES
from resources.store import ManagedStore, Version

WEIGHTS = (".safetensors", ".onnx")
LARGEST_JSON = 8 << 20  # bytes; a report that is longer is compared as a file

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class VersionDiff:
    """Two versions of one asset. A pair is (before, after), None where one has nothing.

    files: those that only one has, or whose content differs, as sizes. keys: of JSON files, by file, dotted (not of the
    samples, which are rows). recipe: changed keys among those the asset
    depends on, or all where that is not known. environment: packages, Python, processor, code. inputs: data versions.
    """

    before: Version
    after: Version
    files: Mapping[str, Pair]
    metrics: Mapping[str, tuple[Scalar | None, Scalar | None]]
    recipe: Mapping[str, Pair]
    environment: Mapping[str, Pair]
    inputs: Mapping[str, Pair]
    tables: Mapping[str, TableDiff] = field(default_factory=dict)
    weights: Mapping[str, WeightsDiff] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, Pair]] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        return self.before.data_version == self.after.data_version


def diff(store: ManagedStore, home: Path, first: str, second: str, samples: int = 3) -> VersionDiff | list[Change]:
    """Of two versions of one asset, all that differs; of two states (releases, runs), the assets that do.

    samples: rows of each kind of a table. Raises UserError when the names stand for things that cannot be compared.
    """
    one, other = resolve(store, home, first), resolve(store, home, second)
    if one.version is None and other.version is None:
        return changes(one.heads, other.heads)
    if one.version is None or other.version is None:
        state, version = (one, other.version) if one.version is None else (other, one.version)
        raise UserError(
            f"{state.name!r} is a state of all assets, the other a version of {version.asset if version else ''}. "
            f"Compare with {version.asset if version else 'asset'}@{state.name}."
        )
    if one.version.asset != other.version.asset:
        raise UserError(
            f"{first!r} is a version of {one.version.asset}, {second!r} one of {other.version.asset}: "
            "only versions of one asset can be compared."
        )
    return diff_versions(store, one.version, other.version, samples)


def diff_versions(store: ManagedStore, before: Version, after: Version, samples: int = 3) -> VersionDiff:
    """All that differs between two versions of one asset."""
    old, new = store.checkout(before), store.checkout(after)
    files = changed_files(old, new)
    both = [name for name, (was, is_) in files.items() if was is not None and is_ is not None]
    return VersionDiff(
        before=before,
        after=after,
        files=files,
        metrics=moved_metrics(before, after),
        recipe=_recipe(before, after),
        environment=environment_diff(before.metadata.get("environment", {}), after.metadata.get("environment", {})),
        inputs=moved(
            {name: origin["data_version"] for name, origin in before.inputs.items()},
            {name: origin["data_version"] for name, origin in after.inputs.items()},
        ),
        tables={name: diff_tables(old / name, new / name, samples) for name in both if name in TABLES},
        weights={name: diff_weights(old / name, new / name) for name in both if name.endswith(WEIGHTS)},
        keys={
            name: moved(flat(read_json(old / name)), flat(read_json(new / name)))
            for name in both
            if name.endswith(".json") and name != SAMPLES and max(files[name]) <= LARGEST_JSON
        },
    )


def environment_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Pair]:
    """The packages and other parts of two recorded environments that differ."""
    packages = moved(before.get("packages", {}), after.get("packages", {}))
    rest = [{name: value for name, value in made.items() if name != "packages"} for made in (before, after)]
    return moved(*rest) | packages


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Pair]:
    """key -> (before, after) where the two mappings differ."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A JSON value by dotted paths to its scalars; an empty list or object is one itself."""
    if isinstance(value, dict) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(str(at), item) for at, item in enumerate(value)]
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{path}.{key}" if path else key)
    return found


def changed_files(old: Path, new: Path) -> dict[str, Pair]:
    """path -> sizes, of the files that are not the same; equal contents are one file of the store, linked."""
    names = [{p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} for folder in (old, new)]
    found: dict[str, Pair] = {}
    for name in sorted(names[0] | names[1]):
        a, b = (old / name if name in names[0] else None), (new / name if name in names[1] else None)
        if not (a and b and a.samefile(b)):
            found[name] = (a.stat().st_size if a else None, b.stat().st_size if b else None)
    return found


def _recipe(before: Version, after: Version) -> dict[str, Pair]:
    from llm_assets.graph import NODES

    differing = moved(flat(_recorded(before)), flat(_recorded(after)))
    node = NODES.get(before.asset)
    if node is None:
        return differing
    return {key: pair for key, pair in differing.items() if any(f"{key}.".startswith(f"{p}.") for p in node.config)}


def _recorded(version: Version) -> dict[str, Any]:
    recipe = version.metadata.get("recipe", {})
    return json.loads(json.dumps(recipe)) if isinstance(recipe, Mapping) else {"name": recipe}
