"""What is known of every asset before anything runs: its inputs, what it is computed from, and whether it is fresh."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from llm_assets.recipe import Recipe
from resources.store import MAIN, VersionStore

ExternalState = Callable[[Recipe, Path], str]


@dataclass(frozen=True)
class Node:
    """One asset of the graph.

    config: dotted paths of the recipe that it depends on.
    external_state: a short text that changes when something outside the graph does (a file, a package, traffic).
    changes_state: the work changes its own external state (deploying does); a rerun compares with the state after it.
    seconds: about how long it takes in the demo; only the time left on a first run is estimated from it.
    """

    name: str
    inputs: tuple[str, ...]
    config: tuple[str, ...]
    code_version: str
    seconds: float
    external_state: ExternalState | None = None
    changes_state: bool = False


NODES: dict[str, Node] = {}


def topological(nodes: Mapping[str, Node]) -> list[str]:
    return list(TopologicalSorter({name: sorted(node.inputs) for name, node in sorted(nodes.items())}).static_order())


def recipe_value(recipe: Recipe, path: str) -> Any:
    """`recipe_value(recipe, "data.clean.min_chars")`."""
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def fingerprint(node: Node, recipe: Recipe, home: Path, inputs: Mapping[str, str]) -> str:
    """Hash of everything the asset is computed from; `inputs` is asset -> data version."""
    parts = {
        "asset": node.name,
        "code_version": node.code_version,
        "config": {path: _plain(recipe_value(recipe, path)) for path in node.config},
        "inputs": {name: inputs[name] for name in node.inputs},
        "external": node.external_state(recipe, home) if node.external_state else "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def stale(recipe: Recipe, home: Path, store: VersionStore, nodes: Mapping[str, Node] = NODES) -> list[str]:
    """The assets whose version on `main` is not what this recipe would give now, with all that is downstream."""
    heads = store.heads(MAIN)
    found: list[str] = []
    for name in topological(nodes):
        node = nodes[name]
        if name not in heads or any(up in found or up not in heads for up in node.inputs):
            found.append(name)
            continue
        current = fingerprint(node, recipe, home, {up: heads[up].data_version for up in node.inputs})
        if heads[name].fingerprint != current or store.find(name, current) is None:
            found.append(name)
    return found


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
