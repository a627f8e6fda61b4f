"""Making a version again: in a state folder and a process of its own, by the recipe that was recorded with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_assets.artifacts import DOCUMENTS, read_table, write_json
from llm_assets.data.config import Feedback
from llm_assets.data.sources.feedback import FEEDBACK
from llm_assets.errors import UserError
from llm_assets.graph import NODES, recipe_value
from llm_assets.materialize import process_mark
from llm_assets.recipe import HOME_VARIABLE, OVERRIDES_VARIABLE, PROJECT, RECIPE_VARIABLE, Recipe, load_recipe
from llm_assets.versions.diff import Pair, changed_files, environment_diff
from llm_assets.versions.lineage import in_order
from resources.dvc_store import DvcStore
from resources.store import MAIN, ManagedStore, Version, lineage

RAW = "raw_documents"
PERSONAL = ("feedback/pairs.jsonl", "erased.json")  # of the state folder: what else an asset may be made from


@dataclass(frozen=True)
class Compared:
    """One asset: what was recorded, and what came of computing it again (None: it was not made).

    differs: what is not as it was then (code, external state, packages, Python, processor), told in any case.
    files: those whose content differs. inputs: those that came out different before it.
    """

    recorded: Version
    made: Version | None
    differs: Mapping[str, Pair]
    files: Sequence[str] = ()
    inputs: Sequence[str] = ()

    @property
    def same(self) -> bool:
        return self.made is not None and self.made.data_version == self.recorded.data_version


@dataclass(frozen=True)
class Reproduction:
    """compared: every asset that was computed again, inputs first. problem: why the computation ended early."""

    compared: list[Compared]
    problem: str

    @property
    def same(self) -> bool:
        return not self.problem and all(item.same for item in self.compared)


def reproduce(store: ManagedStore, home: Path, version: Version, only: bool = False) -> Reproduction:
    """Compute `version` again, with all that is upstream (with `only`: from its stored inputs), and compare.

    Sources are read as they are now; accepted feedback is taken from the recorded raw documents. No gate is run and
    no endpoint touched. The terminal shows progress. Raises UserError for a version that no computation gives (a
    deployment, a report on live traffic), and for one whose recorded recipe this code does not accept.
    """
    versions = lineage(store, version)
    order = [version.asset] if only else in_order(versions)
    for name in in_order(versions):
        _require_computation(name, version)
    folder = home / "work" / f"{process_mark()}-{uuid.uuid4().hex[:8]}"  # a dead process's is removed by the next run
    folder.mkdir(parents=True)
    try:
        own = DvcStore(folder / "store")
        _copy_personal(home, folder)
        if (RAW in versions and not only) or version.asset == RAW:
            _recover_feedback(store.checkout(versions[RAW]), folder)
        if only:
            _seed(own, store, {name: versions[name] for name in version.inputs}, folder)
        problem = ""
        for recipe, assets in _by_recipe([versions[name] for name in order], version):
            problem = problem or _compute(folder, recipe, assets)
        made = own.heads(MAIN)
        for branch in reversed(own.branches()) if problem else []:
            made |= own.heads(branch.name)  # what a computation that failed has left
        return Reproduction(_compare(store, own, [versions[name] for name in order], made), problem)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_computation(name: str, version: Version) -> None:
    node = NODES.get(name)
    if node is None:
        raise UserError(
            f"{version.asset} was made from {name}, which is no asset of this code: check out the code of then"
        )
    if node.changes_state:
        package = version.inputs.get("release_candidate", {}).get("data_version", "")[:12]
        raise UserError(
            f"{version.asset} is an event of the live endpoint, not a computation: it cannot be made again. "
            f"Reproduce the package: release_candidate@{package}."
        )


def _by_recipe(versions: Sequence[Version], target: Version) -> Iterator[tuple[Recipe, list[str]]]:
    """The assets in turn, each by the recipe of the target where that says the same about it, or else by its own."""
    whole = recorded_recipe(target)
    recipe, assets = whole, list[str]()
    for version in versions:
        mine = recorded_recipe(version)
        wanted = whole if _same_for(version.asset, mine, whole) else mine
        if assets and wanted != recipe:
            yield recipe, assets
            assets = []
        recipe = wanted
        assets.append(version.asset)
    yield recipe, assets


def _same_for(asset: str, one: Recipe, other: Recipe) -> bool:
    return all(recipe_value(one, path) == recipe_value(other, path) for path in (*NODES[asset].config, "threads"))


def recorded_recipe(version: Version) -> Recipe:
    """Raises UserError when this code does not accept it any more."""
    try:
        return Recipe.model_validate(version.metadata["recipe"])
    except (KeyError, ValueError) as error:
        source = version.metadata.get("environment", {}).get("source", "unknown")
        raise UserError(
            f"{version.asset}@{version.data_version[:12]}: the recipe it was made by is not one of this code's: "
            f"{str(error).splitlines()[0]}. It was made by the code with source hash {source}."
        ) from None


def _compute(folder: Path, recipe: Recipe, assets: Sequence[str]) -> str:
    """Run the computation; why it ended early, or an empty text."""
    document = recipe.model_dump(mode="json") | {"store": {"kind": "dvc"}}
    for number, source in enumerate(recipe.data.sources):
        if isinstance(source, Feedback):
            document["data"]["sources"][number]["path"] = f"feedback/{number}.jsonl"
    first = next((n for n, source in enumerate(recipe.data.sources) if isinstance(source, Feedback)), None)
    recovered = folder / "feedback" / "recovered.jsonl"
    if first is not None and recovered.exists():
        recovered.replace(folder / "feedback" / f"{first}.jsonl")
    path = folder / f"recipe-{uuid.uuid4().hex[:8]}.yaml"
    write_json(document, path)  # JSON is YAML
    load_recipe(path)
    done = subprocess.run(
        [sys.executable, "-m", "llm_assets.versions.recompute", *assets],
        cwd=PROJECT,
        env=os.environ | {HOME_VARIABLE: str(folder), RECIPE_VARIABLE: str(path), OVERRIDES_VARIABLE: "[]"},
        stderr=subprocess.PIPE,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr.strip()[-2000:] or f"it ended with code {done.returncode}"


def _copy_personal(home: Path, folder: Path) -> None:
    for name in PERSONAL:
        if (home / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home / name, folder / name)


def _recover_feedback(raw: Path, folder: Path) -> None:
    """The feedback that a version of the raw documents was made with, as the file it was read from."""
    import pyarrow.compute as pc

    columns = ["id", "text", "label", "uri", "licence", "source"]
    table = read_table(raw / DOCUMENTS, columns)
    rows = table.filter(pc.equal(table["source"], FEEDBACK)).to_pylist()
    path = folder / "feedback" / "recovered.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows), "utf-8")


def _seed(own: ManagedStore, store: ManagedStore, inputs: Mapping[str, Version], folder: Path) -> None:
    """Publish the stored inputs in the folder's own store; their contents are linked, not copied."""
    for name, version in inputs.items():
        own.open_branch("run/inputs")
        files = folder / f"{name}-files"
        shutil.copytree(store.checkout(version), files, copy_function=_link)
        own.write("run/inputs", name, files, fingerprint=version.fingerprint, inputs={}, metadata=version.metadata)
        shutil.rmtree(files, ignore_errors=True)
    if inputs:
        own.publish("run/inputs", "stored inputs")


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _compare(
    store: ManagedStore, own: ManagedStore, versions: Sequence[Version], made: Mapping[str, Version]
) -> list[Compared]:
    found: list[Compared] = []
    for recorded in versions:
        new = made.get(recorded.asset)
        changed = [item.recorded.asset for item in found if not item.same and item.recorded.asset in recorded.inputs]
        if new is None:
            found.append(Compared(recorded, None, {}, inputs=changed))
            continue
        same = new.data_version == recorded.data_version
        files = [] if same else sorted(changed_files(store.checkout(recorded), own.checkout(new)))
        found.append(Compared(recorded, new, differences(recorded, new), files, changed))
    return found


def differences(recorded: Version, made: Version) -> dict[str, Pair]:
    """What two versions of one asset were not made alike with, beside their inputs."""
    old, new = recorded.metadata, made.metadata
    parts: dict[str, Pair] = {}
    for title, key in (("code version", "code_version"), ("external state", "external")):
        if key in old and old[key] != new.get(key):
            parts[title] = (old[key], new.get(key))
    return parts | environment_diff(old.get("environment", {}), new.get("environment", {}))
