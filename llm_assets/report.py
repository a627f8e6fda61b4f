"""What commands print: the end of a run, the state of the graph, the doctor's findings."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from llm_assets import graph
from llm_assets.doctor import Finding
from llm_assets.progress import seconds_text
from llm_assets.recipe import current_recipe, home_folder
from llm_assets.runs import Outcome
from llm_assets.terminal import console
from resources.store import MAIN
from resources.workspace import open_store

HEADLINES = ("rows", "accuracy", "perplexity", "loss", "decision")


def print_outcome(outcome: Outcome) -> None:
    for problem in outcome.problems:
        console.print("[red]✗[/]", end=" ")
        console.print(problem, markup=False, soft_wrap=True)
    if not outcome.success:
        console.print(
            f"[red]The run did not succeed[/] (run {outcome.run_id}); main is as it was. What had finished is kept: "
            "mend the cause and run again."
        )
        return
    console.print(
        f"{len(outcome.computed)} of {outcome.assets} assets recomputed in {seconds_text(outcome.wall)}."
        + ("" if outcome.run_id else " Nothing has changed.")
    )
    if outcome.run_id:
        start_up = outcome.overhead - outcome.gates - outcome.storage
        console.print(
            f"Stage work {seconds_text(outcome.work)}; everything else {seconds_text(outcome.overhead)} "
            f"({outcome.overhead / outcome.wall:.0%}: gates {outcome.gates:.1f} s, storage {outcome.storage:.1f} s, "
            f"start-up and orchestration {start_up:.1f} s)."
        )


def print_status() -> None:
    """One line an asset."""
    from llm_assets.definitions import defs  # noqa: F401  (declares the nodes)
    from resources.endpoint import endpoint_of

    recipe, home = current_recipe(), home_folder()
    store = open_store(home)
    heads, old = store.heads(MAIN), graph.stale(recipe, home, store)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("asset", "state", "version", "at a glance"):
        shown.add_column(title)
    for name in graph.topological(graph.NODES):
        version = heads.get(name)
        if version is None:
            shown.add_row(name, "[red]missing[/]", "", "")
            continue
        metrics = version.summary.metrics
        glance = ", ".join(f"{key} {short(metrics[key])}" for key in HEADLINES if key in metrics)
        state = "[yellow]stale[/]" if name in old else "[green]fresh[/]"
        shown.add_row(name, state, version.data_version[:12], glance)
    console.print(shown)
    status = endpoint_of(recipe, home).status()
    if status["running"]:
        console.print(f"endpoint: {status['url']} serves {str(status['digest'])[:12]}")
    else:
        console.print("endpoint: not running (`llm-assets up` starts it)")


def print_findings(findings: Iterable[Finding]) -> int:
    """Print each finding with its fix; the exit code (1 when anything failed)."""
    failed = False
    for finding in findings:
        mark = {True: "[green]✓[/]", None: "[yellow]![/]", False: "[red]✗[/]"}[finding.ok]
        console.print(f"{mark} {finding.what:14}", end=" ")
        console.print(finding.detail, markup=False, soft_wrap=True)
        if not finding.ok and finding.fix:
            console.print(f"  {'':14} fix:", finding.fix, markup=False, soft_wrap=True)
        failed |= finding.ok is False
    return int(failed)


def print_simulation(requests: int, shift: bool, feedback: float, seed: int) -> None:
    from llm_assets.monitoring.simulate import simulate

    recipe, home = current_recipe(), home_folder()
    with console.status("sending requests") as state:
        result = simulate(
            home,
            recipe,
            requests,
            shift=shift,
            feedback_share=feedback,
            seed=seed,
            progress=lambda done, total, note="": state.update(f"{done:.0f} of {total:.0f} requests {note}"),
        )
    console.print(", ".join(f"{name} {short(value)}" for name, value in result.items()))


def short(value: object) -> str:
    """A number as people read it."""
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
