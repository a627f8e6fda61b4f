"""What the commands print that change what is published or kept."""

from __future__ import annotations

from collections.abc import Sequence

from llm_assets.report_text import listed
from llm_assets.terminal import console
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
