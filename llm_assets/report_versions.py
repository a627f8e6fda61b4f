"""What `llm-assets history` and `llm-assets diff` print."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape

from llm_assets.artifacts import SAMPLES
from llm_assets.report import HEADLINES, short
from llm_assets.report_text import columns, cut, glance, listed, moment
from llm_assets.terminal import console
from llm_assets.versions.diff import VersionDiff
from llm_assets.versions.diff_tables import TableDiff
from llm_assets.versions.diff_weights import WeightsDiff
from llm_assets.versions.history import Change, Published, moved_metrics
from resources.store import Release, Version

SHOWN_PAIRS = 20


def print_history(found: list[Published]) -> None:
    """One line a release: when, which run, what it changed, and how the headline metrics moved."""
    shown = columns("release", "at (UTC)", "run", "changed", "metrics")
    for item in found:
        moves = []
        for change in item.changes:
            for metric, (old, new) in moved_metrics(change.before, change.after).items():
                if metric in HEADLINES and new is not None:
                    arrow = f"{short(old)} → " if old is not None else ""
                    moves.append(f"{change.asset} {metric} {arrow}{short(new)}")
        shown.add_row(
            item.release.name,
            moment(item.release.at),
            item.run[:8] if not item.run.startswith("rollback") else item.release.message.splitlines()[0],
            listed([change.asset if change.after else f"{change.asset} (gone)" for change in item.changes], 4),
            escape(listed(moves, 3)),
        )
    console.print(shown if found else "Nothing has been published yet.")


def print_versions(found: list[tuple[Release, Version]]) -> None:
    """The versions of one asset, newest first, each with the release that brought it and its headline metrics."""
    shown = columns("release", "at (UTC)", "version", "run", "code", "at a glance")
    for release, version in found:
        shown.add_row(
            release.name,
            moment(release.at),
            version.data_version[:12],
            str(version.metadata.get("run", ""))[:8],
            str(version.metadata.get("code_version", "")),
            glance(version),
        )
    console.print(shown)


def print_changes(found: list[Change]) -> None:
    """What differs between two states, an asset a line."""
    if not found:
        console.print("The two hold the same data versions.")
        return
    shown = columns("asset", "before", "after", "metrics")
    for change in found:
        moves = [
            f"{name} {'-' if old is None else short(old)} → {'-' if new is None else short(new)}"
            for name, (old, new) in moved_metrics(change.before, change.after).items()
        ]
        sides = [version.data_version[:12] if version else "-" for version in (change.before, change.after)]
        shown.add_row(change.asset, *sides, escape(listed(moves, 3)))
    console.print(shown)
    console.print("[dim]`llm-assets diff ASSET@A ASSET@B` shows what differs in one of them.[/]")


def print_diff(found: VersionDiff) -> None:
    """All that differs between two versions of an asset."""
    console.print(
        f"[bold]{found.before.asset}[/] {found.before.data_version[:12]} → {found.after.data_version[:12]}"
        + (": the same content" if found.same else "")
    )
    for title, pairs in (
        ("inputs", {name: tuple(p and p[:12] for p in pair) for name, pair in found.inputs.items()}),
        ("recipe", found.recipe),
        ("environment", found.environment),
        ("metrics", found.metrics),
        *((name, pairs) for name, pairs in found.keys.items()),
    ):
        _print_pairs(title, pairs)
    for name, table in found.tables.items():
        _print_table_diff(name, table)
    for name, weights in found.weights.items():
        _print_weights(name, weights)
    told = {SAMPLES, *found.tables, *found.weights, *found.keys}
    _print_pairs("bytes of other files", {name: pair for name, pair in found.files.items() if name not in told})


def _print_pairs(title: str, pairs: Mapping[str, tuple[object, ...]]) -> None:
    if not pairs:
        return
    console.print(f"[bold]{escape(title)}[/]")
    for name, (old, new) in list(pairs.items())[:SHOWN_PAIRS]:
        console.print(f"  {name}: {_value(old)} → {_value(new)}", markup=False, soft_wrap=True)
    if len(pairs) > SHOWN_PAIRS:
        console.print(f"  [dim]and {len(pairs) - SHOWN_PAIRS} more[/]")


def _print_table_diff(name: str, table: TableDiff) -> None:
    console.print(
        f"[bold]{name}[/] {table.rows[0]:,} → {table.rows[1]:,} rows: [green]{table.added:,} added[/], "
        f"[red]{table.removed:,} removed[/], [yellow]{table.changed:,} changed[/]"
        + (f", {table.touched:,} with equal content and other values" if table.touched else "")
    )
    if table.columns:
        console.print(f"  columns that differ: {', '.join(f'{key} ({rows:,})' for key, rows in table.columns.items())}")
    for mark, rows in (("[green]+[/]", table.added_samples), ("[red]-[/]", table.removed_samples)):
        for row in rows:
            console.print(f"  {mark} {row['id']} {escape(_text_of(row))}")
    for old, new in table.changed_samples:
        console.print(f"  [yellow]~[/] {old['id']} {escape(_text_of(old))}")
        console.print(f"  [yellow]→[/] {' ' * len(old['id'])} {escape(_text_of(new))}")


def _print_weights(name: str, weights: WeightsDiff) -> None:
    console.print(f"[bold]{name}[/] {weights.equal} tensors equal, {len(weights.changed)} changed")
    shown = columns("  tensor", "shape", "norm", "distance", "relative")
    for tensor in weights.changed[:SHOWN_PAIRS]:
        shapes = ["-" if shape is None else " x ".join(map(str, shape)) or "scalar" for shape in tensor.shapes]
        norms = ["-" if norm is None else f"{norm:.4g}" for norm in tensor.norms]
        shown.add_row(
            f"  {escape(tensor.name)}",
            shapes[0] if shapes[0] == shapes[1] else " → ".join(shapes),
            " → ".join(norms),
            "" if tensor.distance is None else f"{tensor.distance:.4g}",
            "" if tensor.relative is None else f"{tensor.relative:.2%}",
        )
    if weights.changed:
        console.print(shown)


def _value(value: object) -> str:
    return "-" if value is None else cut(short(value), 120)


def _text_of(row: Mapping[str, object]) -> str:
    return cut(row.get("text") or row.get("prompt"), 100)
