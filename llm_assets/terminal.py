"""What a person sees in the terminal while the graph runs: one line an asset, and the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from llm_assets.progress import Update, seconds_text

console = Console(highlight=False)


class RunView:
    """Listens to updates; draws bars on a terminal, and plain lines where the output is a file.

    expected: asset -> seconds it is expected to take; the time left is their rest, scaled by how this run compares.
    """

    def __init__(self, assets: Sequence[str], expected: Mapping[str, float]) -> None:
        self.order = list(assets)
        self.expected = {name: max(expected.get(name, 1.0), 0.1) for name in self.order}
        self.share = dict.fromkeys(self.order, 0.0)
        self.work: dict[str, float] = {}
        self.storage: dict[str, float] = {}
        self.gates: dict[str, float] = {}
        self.computed: list[str] = []
        self.begun: dict[str, float] = {}
        self.started = time.monotonic()
        self.bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(28),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self.overall = self.bars.add_task(f"{'the graph':22}", total=1.0, note="")
        self.current = self.bars.add_task("", total=1.0, note="", visible=False)
        self.stack = ExitStack()

    def __enter__(self) -> RunView:
        if console.is_terminal:
            self.stack.enter_context(Live(self.bars, console=console, refresh_per_second=5))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.update(self.current, visible=False)
        self.bars.update(self.overall, visible=False)
        self.stack.close()

    def __call__(self, update: Update) -> None:
        name = update.asset
        if update.state == "started":
            self.begun[name] = time.monotonic()
            self.bars.update(self.current, description=f"{name:22}", completed=0, note="", visible=True)
        elif update.state == "working":
            self.share[name] = min(update.done / update.total, 0.99) if update.total else 0.0
            self.bars.update(self.current, completed=self.share[name], note=update.note[:60])
        elif update.state in ("computed", "reused"):
            self.share[name] = 1.0
            self.work[name], self.storage[name] = update.work_seconds, update.storage_seconds
            if update.state == "computed":
                self.computed.append(name)
            took = f"{update.work_seconds:5.1f} s" if update.state == "computed" else " reused"
            position = sum(share == 1.0 for share in self.share.values())
            console.print(
                f"  [green]✓[/] {name:22} {took}   {position}/{len(self.order)}, about {seconds_text(self.left())} left"
            )
        elif update.state == "gated":
            self.gates[name] = self.gates.get(name, 0.0) + update.gate_seconds
            if update.note:
                console.print(f"  [yellow]! {name}[/]: warning, {update.note}")
        elif update.state == "failed":
            self.gates[name] = self.gates.get(name, 0.0) + update.gate_seconds
            console.print(f"  [red]✗ {name}[/]")
        self._draw_overall()

    def left(self) -> float:
        """Seconds still to go."""
        done = [name for name in self.order if name in self.work and self.work[name] > 0]
        pace = sum(self.work[n] for n in done) / sum(self.expected[n] for n in done) if done else 1.0
        rest = sum(self.expected[name] * (1 - self.share[name]) for name in self.order)
        return rest * min(max(pace, 0.2), 5.0)

    def _draw_overall(self) -> None:
        total = sum(self.expected.values())
        done = sum(self.expected[name] * self.share[name] for name in self.order)
        self.bars.update(self.overall, completed=done / total, note=f"about {seconds_text(self.left())} left")
