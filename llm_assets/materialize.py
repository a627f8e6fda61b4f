"""The one path every artifact takes: fingerprint, look-up, computation in a fresh folder, one atomic commit.

`@artifact_asset` turns a function of a `Job` into a Dagster asset. The function writes files into `job.out` and
returns a `Summary`; everything else happens here, once for all stages.
"""

import errno
import inspect
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from llm_assets.artifacts import SAMPLES, Progress, Summary, read_json, write_json
from llm_assets.errors import UserError
from llm_assets.graph import NODES, ExternalState, Node, fingerprint
from llm_assets.progress import Update, announce, reporter
from llm_assets.provenance import environment
from llm_assets.recipe import Recipe
from resources.store import Version, VersionStore

if TYPE_CHECKING:
    from resources.workspace import RecipeResource, StoreResource

OWNERS = ["team:llm-assets"]
PROCESS_TAG = "llm-assets/process"
FORCE_TAG = "llm-assets/force"  # a run with it computes anew what it would find


@dataclass(frozen=True)
class Job:
    """What a stage's function works with. `out` is empty, writable and private to this computation."""

    recipe: Recipe
    inputs: Mapping[str, Path]
    versions: Mapping[str, Version]
    out: Path
    home: Path
    progress: Progress
    log: Callable[[str], object]


def artifact_asset(
    *,
    group: str,
    config: tuple[str, ...],
    kinds: Collection[str],
    code_version: str,
    seconds: float,
    inputs: tuple[str, ...] = (),
    external_state: ExternalState | None = None,
    changes_state: bool = False,
) -> Callable[[Callable[[Job], Summary]], dg.AssetsDefinition]:
    """Declare an asset; see `graph.Node` for the arguments that are not Dagster's."""

    def declare(compute: Callable[[Job], Summary]) -> dg.AssetsDefinition:
        name = compute.__name__
        node = NODES[name] = Node(name, inputs, config, code_version, seconds, external_state, changes_state)

        @dg.asset(
            name=name,
            deps=list(inputs),
            group_name=group,
            kinds=set(kinds),
            owners=OWNERS,
            tags={"stage": group},
            code_version=code_version,
            description=inspect.getdoc(compute),
            required_resource_keys={"recipe", "store"},
        )
        def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            try:
                return _materialize(context, node, compute)
            except UserError as error:
                announce(Update(name, "failed", note=str(error)))
                raise dg.Failure(description=str(error), allow_retries=False) from None

        return asset

    return declare


def run_branch(run: dg.DagsterRun) -> str:
    """The branch of a run; a re-execution from failure goes on with the branch of the run it repeats."""
    return f"run/{run.root_run_id or run.run_id}"


def _materialize(
    context: dg.AssetExecutionContext, node: Node, compute: Callable[[Job], Summary]
) -> dg.MaterializeResult:
    recipe_resource: RecipeResource = context.resources.recipe
    store_resource: StoreResource = context.resources.store
    recipe, home, store = recipe_resource.load(), store_resource.folder, store_resource.open()
    context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_mark()})
    branch = run_branch(context.run)
    store.open_branch(branch)
    started = time.monotonic()
    announce(Update(node.name, "started"))
    heads = store.heads(branch)
    versions = _input_versions(node, heads)
    external = node.external_state(recipe, home) if node.external_state else ""
    key = fingerprint(node, recipe, home, {name: v.data_version for name, v in versions.items()})
    work_seconds = 0.0
    found = None if FORCE_TAG in context.run.tags else store.find(node.name, key)
    if found is not None:
        version = store.adopt(branch, found)
        context.log.info(f"{node.name}: computed before from the same inputs; version {version.data_version} reused")
    else:
        out = _work_folder(home)
        try:
            job = Job(
                recipe=recipe,
                inputs={name: store.checkout(v) for name, v in versions.items()},
                versions=versions,
                out=out,
                home=home,
                progress=reporter(node.name, context.log.info),
                log=context.log.info,
            )
            begun = time.monotonic()
            summary = compute(job)
            work_seconds = time.monotonic() - begun
            if summary.samples:
                columns = list(dict.fromkeys(name for row in summary.samples for name in row))
                rows = [[row.get(name, "") for name in columns] for row in summary.samples]
                write_json({"columns": columns, "rows": rows}, out / SAMPLES)
            metadata = {
                "summary": summary.to_json(),
                "run": context.run.run_id,
                "recipe": recipe.model_dump(mode="json"),
                "code_version": node.code_version,
                "external": external,
                "files": _sizes(out),
                "environment": environment(),
                "work_seconds": round(work_seconds, 2),
            }
            if node.changes_state:  # what a rerun will see is the state after the work
                key = fingerprint(node, recipe, home, {name: v.data_version for name, v in versions.items()})
            version = store.write(branch, node.name, out, fingerprint=key, inputs=versions, metadata=metadata)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            free = shutil.disk_usage(home).free // 2**20
            raise UserError(
                f"{node.name}: the disk that holds {home} is full ({free} MiB free). Free some space and run again; "
                "nothing was half-written, and what is finished is kept."
            ) from error
        finally:
            shutil.rmtree(out, ignore_errors=True)
    announce(
        Update(
            node.name,
            "reused" if found else "computed",
            work_seconds=work_seconds,
            storage_seconds=time.monotonic() - started - work_seconds,
        )
    )
    return dg.MaterializeResult(
        metadata=_shown(version, store, branch, reused=found is not None),
        data_version=dg.DataVersion(version.data_version),
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Path -> bytes of every file: what kind of artifact it is can be told without opening it."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _input_versions(node: Node, heads: Mapping[str, Version]) -> dict[str, Version]:
    missing = [name for name in node.inputs if name not in heads]
    if missing:
        raise UserError(
            f"{node.name} needs {', '.join(missing)}, which no published run has made. Materialize "
            f"{', '.join(missing)} too (a run is published when it has succeeded; the Dagster daemon does that for "
            "runs started in the UI)."
        )
    return {name: heads[name] for name in node.inputs}


def _work_folder(home: Path) -> Path:
    """A fresh folder; those of processes that died are removed on the way."""
    root = home / "work"
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.iterdir():
        if not process_alive(folder.name.rpartition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)
    folder = root / f"{process_mark()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


def process_mark() -> str:
    """`pid-start time`: names this process and never a later one with the same id."""
    import psutil

    return f"{os.getpid()}-{int(psutil.Process().create_time())}"


def process_alive(mark: str) -> bool:
    import psutil

    pid, _, born = mark.partition("-")
    try:
        process = psutil.Process(int(pid))
        return int(process.create_time()) == int(born) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


def _shown(version: Version, store: VersionStore, branch: str, reused: bool) -> dict[str, Any]:
    """The metadata a person sees on the materialization: what to look at, then what to read, then what it is."""
    from llm_assets.pictures import bar_chart, line_chart, share_chart, table

    summary, samples = version.summary, store.checkout(version) / SAMPLES
    pictures = {title: line_chart(title, points) for title, points in summary.curves.items() if points}
    pictures |= {title: bar_chart(title, values) for title, values in summary.bars.items() if values}
    pictures |= {title: share_chart(title, some) for title, some in summary.shares.items() if some}
    pictures |= {title: table(rows) for title, rows in summary.tables.items() if rows}
    if samples.exists():
        stored = read_json(samples)  # JSON objects here have sorted keys; the columns have an order of their own
        pictures["samples"] = table([dict(zip(stored["columns"], row, strict=True)) for row in stored["rows"]])
    if summary.note:
        pictures = {"note": summary.note} | pictures
    identity: dict[str, Any] = {
        "dagster/uri": f"store://{version.asset}@{version.data_version}",
        "version": version.data_version,
        "commit": version.commit,
        "branch": branch,
        "lineage": dg.MetadataValue.md(_lineage(version)),
        "reused": reused,
        "work_seconds": version.metadata["work_seconds"],
    }
    if "rows" in summary.metrics:
        identity["dagster/row_count"] = int(summary.metrics["rows"])
    looked_at = {title: dg.MetadataValue.md(text) for title, text in pictures.items()}
    return looked_at | {name: value for name, value in summary.metrics.items() if name not in looked_at} | identity


def _lineage(version: Version) -> str:
    """The inputs, each with the exact version that was read, and where to look further."""
    from llm_assets.pictures import table

    rows = [
        {"input": name, "data version": origin["data_version"][:12], "commit": origin["commit"][:12]}
        for name, origin in sorted(version.inputs.items())
    ]
    further = f"`llm-assets lineage {version.asset}@{version.data_version[:12]}`"
    return f"{table(rows)}\n\n{further}" if rows else f"No inputs: {version.asset} is a source. {further}"
