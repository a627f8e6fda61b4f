"""What the commands print that change what is published or kept."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from llm_assets.report_text import columns, cut, listed
from llm_assets.terminal import console
from llm_assets.versions.reproduce import Compared, Reproduction
from llm_assets.versions.rollback import Rollback


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
