"""Running the graph from the command line: what is stale, the run itself, its publication and its account of time."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_assets import graph
from llm_assets.errors import UserError
from llm_assets.progress import listening
from llm_assets.recipe import current_recipe, home_folder, remember_recipe
from llm_assets.terminal import RunView
from resources.store import MAIN
from resources.workspace import open_store

if TYPE_CHECKING:
    import dagster as dg


@dataclass
class Outcome:
    """How a run ended. Seconds are wall-clock; `wall` is from the start of the process to the end of the run."""

    success: bool
    assets: int
    computed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    run_id: str = ""
    wall: float = 0.0
    work: float = 0.0
    storage: float = 0.0
    gates: float = 0.0

    @property
    def overhead(self) -> float:
        """Everything that is not stage work: start-up, imports, orchestration, gates, storage."""
        return self.wall - self.work


def process_seconds() -> float:
    """Wall-clock seconds since this process started, imports included."""
    import psutil

    return time.time() - psutil.Process().create_time()


def run_graph(select: str | None = None, force: bool = False) -> Outcome:
    """Materialize what is stale, or what `select` (Dagster's asset selection syntax) names, and publish it.

    force: compute all of it anew (the whole graph, without `select`), also what the store has from equal inputs.
    """
    import dagster as dg

    from llm_assets.definitions import defs
    from llm_assets.materialize import FORCE_TAG
    from llm_assets.publish import RELEASE_TAG, close_dead_runs, publish_run

    recipe, home = current_recipe(), home_folder()
    remember_recipe()
    store = open_store(home)
    every = graph.topological(graph.NODES)
    # Dagster resolves definitions by the instance entered last, and fails where that one is gone.
    with dg.DagsterInstance.get() as instance:
        if select is None:
            chosen = every if force else graph.stale(recipe, home, store)
        else:
            wanted = _selected(select)
            chosen = [name for name in every if name in wanted]
        if not chosen:
            return Outcome(True, len(every), wall=process_seconds())
        view = RunView(chosen, _expected(chosen))
        job = defs.resolve_implicit_global_asset_job_def()
        with view, listening(view):
            close_dead_runs(instance)
            result = job.execute_in_process(
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                asset_selection=[dg.AssetKey(name) for name in chosen],
                instance=instance,
                raise_on_error=False,
                tags={"llm-assets/started-by": "command line"} | ({FORCE_TAG: "yes"} if force else {}),
            )
            run = instance.get_run_by_id(result.run_id)
            if result.success and run is not None:
                release = publish_run(run, store)
                if release is not None:
                    instance.add_run_tags(run.run_id, {RELEASE_TAG: release.name})
    return Outcome(
        success=result.success,
        assets=len(every),
        computed=view.computed,
        problems=[] if result.success else problems_of(result.all_events),
        run_id=result.run_id,
        wall=process_seconds(),
        work=sum(view.work.values()),
        storage=sum(view.storage.values()),
        gates=sum(view.gates.values()),
    )


def problems_of(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """What went wrong in a run, each in a few lines a person can act on."""
    import dagster as dg

    problems = []
    for event in events:
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                observed = "; ".join(f"{name}: {item.value}" for name, item in check.metadata.items())
                problems.append(
                    f"{check.asset_key.to_user_string()}: gate {check.check_name} did not pass.\n"
                    f"    {check.description}\n    {observed}"
                )
        elif event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                problems.append(f"{event.step_key}: {data.user_failure_data.description}")
            elif data.error and "AssetCheckFailed" not in (data.error.cls_name or ""):
                cause = data.error.cause or data.error
                problems.append(f"{event.step_key}: unexpected {cause.cls_name}: {cause.message.strip()}")
    return problems


def _selected(select: str) -> set[str]:
    import dagster as dg

    from llm_assets.definitions import defs

    # Dagster reads a bare name by its old rules, where `+name` is one level up; here it is all of them, as in the UI.
    written = re.sub(rf"(?<![\w:\"*])({'|'.join(graph.NODES)})(?![\w:\"*])", r"key:\1", select)
    try:
        keys = dg.AssetSelection.from_string(written).resolve(defs.resolve_asset_graph())
    except Exception as error:  # the parser's own errors have no common class
        raise UserError(f"--select {select!r}: {str(error).splitlines()[0]}") from None
    if not keys:
        raise UserError(f"--select {select!r} names no asset. Assets: {', '.join(sorted(graph.NODES))}")
    return {key.to_user_string() for key in keys}


def _expected(chosen: list[str]) -> dict[str, float]:
    """Seconds each asset took last time, or takes in the demo."""
    heads = open_store(home_folder()).heads(MAIN)
    return {
        name: float(heads[name].metadata["work_seconds"]) if name in heads else graph.NODES[name].seconds
        for name in chosen
    }
