"""What the commands print that change what is published or kept."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from llm_assets.report_lineage import print_sightings
from llm_assets.report_text import columns, cut, listed
from llm_assets.terminal import console
from llm_assets.versions.erase import Erasure
from llm_assets.versions.reproduce import Compared, Reproduction
from llm_assets.versions.rollback import Rollback
from llm_assets.versions.sightings import Sightings
from resources.store import Garbage

SHOWN = 30


def print_rollback(done: Rollback, in_flight: Sequence[str]) -> None:
    """What main and the endpoint are now, and what the next run will do."""
    name = done.target.name
    if done.published is None:
        console.print(f"main holds what {name} held.")
    else:
        moved = listed([change.asset for change in done.changes], 6)
        console.print(f"main holds what {name} held, published as {done.published.name}: {moved} went back.")
    if done.digest is None:
        console.print(f"{name} had deployed nothing: the endpoint was left as it is.")
    else:
        state = "is now served" if done.swapped and done.running else "is served"
        late = "" if done.running else ", as soon as the endpoint is started (`llm-assets up`)"
        console.print(f"Package {done.digest[:12]} {state}{late}.")
    if done.swapped:
        console.print("The package served until now is withdrawn: no run promotes that very package again.")
    for run in in_flight:
        console.print(f"[yellow]Run {run[:8]} is in flight[/]: what it makes is published over this if it succeeds.")
    console.print("`llm-assets status` tells what the recipe and the sources would make otherwise today.")


def print_reproduction(done: Reproduction) -> None:
    """One line an asset; what is not as it was then is told below."""
    shown = columns("asset", "recorded", "made again", "")
    for item in done.compared:
        made = item.made.data_version[:12] if item.made else "-"
        shown.add_row(item.recorded.asset, item.recorded.data_version[:12], made, _verdict(item))
    console.print(shown)
    told: dict[str, list[str]] = {}
    for item in (item for item in done.compared if not item.same):
        for name, (old, new) in item.differs.items():
            told.setdefault(f"{name}: {cut(old) or '-'} then, {cut(new) or '-'} now", []).append(item.recorded.asset)
    if told:
        console.print("Not as it was then:")
    for text, assets in told.items():
        console.print(f"  {text} ({listed(assets, 3)})", markup=False, soft_wrap=True)
    if done.problem:
        console.print("[red]It ended early[/]:", end=" ")
        console.print(done.problem, markup=False, soft_wrap=True)
    elif done.same:
        console.print(f"Reproduced: {len(done.compared)} of {len(done.compared)} data versions are equal.")


def _verdict(item: Compared) -> str:
    if item.same:
        return "[green]equal[/]"
    if item.made is None:
        return "[red]not made[/]"
    if item.inputs:
        return f"[red]differs[/]: so do its inputs {', '.join(item.inputs)}"
    if item.differs:
        return f"[red]differs[/] in {escape(listed(list(item.files), 3))}: see below what is not as it was then"
    return f"[red]differs[/] in {escape(listed(list(item.files), 3))}, from equal inputs, code and packages"


def print_to_erase(found: Sightings | None) -> None:
    """What saw the rows, before anything is done."""
    if found is None:
        console.print("All that saw it is gone from the store; what is left of the erasure is completed.")
        return
    print_sightings(found)
    models = {s.version.data_version for s in found.seen if s.how == "trained on"}
    console.print(f"{len(found.seen)} versions saw it, {len(models)} models were trained on it.")


def print_erasure(done: Erasure) -> None:
    """What was done, and the proof: what was read, and what was found in it."""
    if done.rebuilt:
        console.print(f"made anew without it: {', '.join(done.rebuilt)}")
    for line in done.files:
        console.print(line, markup=False, soft_wrap=True)
    if done.problem:
        console.print("[red]The erasure is not complete[/]:", end=" ")
        console.print(f"{done.problem}. Mend the cause and give the same command again.", markup=False, soft_wrap=True)
        return
    console.print(
        f"{done.versions} versions are forgotten ({done.freed / 2**20:.1f} MiB freed); {len(done.packages)} packages "
        f"of the endpoint and the records of {len(done.runs)} Dagster runs are removed."
    )
    assert done.proof is not None
    console.print("Read for ids, content hashes and runs of words of the texts:")
    for kind, count in sorted(done.proof.scanned.items()):
        console.print(f"  {count:>10,} {kind}")
    if not done.proof.found:
        console.print("[green]0 found.[/] Originals outside the state folder (files, installed packages) stay theirs.")
        return
    console.print(f"[red]{len(done.proof.found)} found[/]; remove these and give the same command again:")
    for trace in done.proof.found[:SHOWN]:
        console.print(f"  {trace.where}: {trace.what}", markup=False, soft_wrap=True)


def print_garbage(found: Garbage, dry_run: bool) -> None:
    """What a collection removed, or would remove."""
    would = "would be " if dry_run else ""
    for name in found.branches:
        console.print(f"branch {name}", markup=False)
    for version in found.versions:
        console.print(f"version {version.asset}@{version.data_version[:12]}", markup=False)
    console.print(
        f"{len(found.branches)} branches and {len(found.versions)} versions {would}removed, "
        f"{found.freed / 2**20:.1f} MiB {would}freed."
    )
