"""What `llm-assets lineage` prints."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.tree import Tree

from llm_assets.graph import NODES
from llm_assets.report_text import columns, cut, glance
from llm_assets.terminal import console
from llm_assets.versions.lineage import Lineage, Origin, Row
from llm_assets.versions.sightings import Sightings
from resources.store import Version

SHOWN_SOURCES = 6
SHOWN_PACKAGES = ("torch", "transformers", "trl", "numpy", "onnxruntime", "scikit-learn")


def print_lineage(found: Lineage) -> None:
    """A tree: the version, below it what it was made from; a version that has been shown is only named again."""
    root = Tree(escape(f"lineage of {found.named.name}"), guide_style="dim")
    reply = found.named.reply
    if reply is not None:
        root.add(
            f"reply to {escape(str(reply.get('model')))} at {escape(str(reply.get('at')))}: "
            f"{escape(cut(reply.get('text')))} [dim]→[/] {escape(cut(reply.get('reply')))}"
        )
    _branch(root, found, found.version, set())
    console.print(root)
    _print_environments(found)
    if found.rows_of is None:
        return
    if found.rows:
        _print_rows(found.rows, found.rows_of)
    else:
        console.print(
            f"[dim]`--rows N` shows some of the rows of {found.rows_of}; `--downstream` goes the other way.[/]"
        )


def print_sightings(found: Sightings) -> None:
    """Every version that saw the rows, in the order of the data's way."""
    shown = columns("asset", "version", "releases", "saw it", "rows", "through")
    for sighting in found.seen:
        rows = ", ".join(f"{count:,} {split}" for split, count in sorted(sighting.splits.items()))
        releases = ", ".join(sighting.releases[:4]) + (" …" if len(sighting.releases) > 4 else "")
        colour = {"trained on": "red", "measured with": "yellow", "holds": "green"}.get(sighting.how, "dim")
        shown.add_row(
            sighting.version.asset,
            sighting.version.data_version[:12],
            releases or "[dim]not published[/]",
            f"[{colour}]{sighting.how}[/]",
            rows,
            ", ".join(sighting.through),
        )
    console.print(shown)
    for digest in found.packages:
        console.print(f"The endpoint has a package that saw it: {digest[:12]}")
    for version in found.unread:
        console.print(f"[yellow]Not read[/]: {version.asset}@{version.data_version[:12]} is damaged or erased")


def _branch(tree: Tree, found: Lineage, version: Version, above: set[str]) -> None:
    asset = version.asset
    if asset in above:
        tree.add(f"[dim]{asset} {version.data_version[:12]} (above)[/]")
        return
    above.add(asset)
    node = tree.add(_line(version, found.releases[asset]))
    if settings := _settings(version):
        node.add(f"[dim]recipe:[/] {escape(settings)}")
    for origin in _short_origins(found.origins.get(asset, [])):
        node.add(origin)
    order = list(found.versions)
    for name in sorted(version.inputs, key=order.index, reverse=True):
        _branch(node, found, found.versions[name], above)


def _line(version: Version, releases: list[str]) -> str:
    where = releases[-1] if releases else "not published"
    code = version.metadata.get("code_version", "")
    parts = [f"[bold]{version.asset}[/] {version.data_version[:12]}", where, f"code {code}", glance(version)]
    return " [dim]·[/] ".join(part for part in parts if part)


def _settings(version: Version) -> str:
    """The scalar keys of the recipe's sections that the asset depends on, as they were."""
    recipe = version.metadata.get("recipe", {})
    node = NODES.get(version.asset)
    values: dict[str, object] = {}
    for path in node.config if node else ():
        value: object = recipe
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            values |= {f"{path}.{key}": item for key, item in value.items() if isinstance(item, str | int | float)}
        elif isinstance(value, str | int | float):
            values[path] = value
    return ", ".join(f"{path}={value}" for path, value in values.items())


def _short_origins(origins: list[Origin]) -> list[str]:
    """One line a source and licence, the largest first; the rest as one."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for origin in origins:
        splits = counts.setdefault((origin.source, origin.licence), {})
        splits[origin.split or ""] = splits.get(origin.split or "", 0) + origin.rows
    ordered = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    lines = []
    for (source, licence), splits in ordered[:SHOWN_SOURCES]:
        detail = ", ".join(f"{split} {rows:,}" for split, rows in sorted(splits.items()) if split)
        terms = escape(f"({licence}; {detail})" if detail else f"({licence})")
        lines.append(f"{sum(splits.values()):,} rows of {escape(source)} [dim]{terms}[/]")
    if rest := ordered[SHOWN_SOURCES:]:
        lines.append(f"[dim]{sum(sum(s.values()) for _, s in rest):,} rows of {len(rest)} more sources[/]")
    return lines


def _print_environments(found: Lineage) -> None:
    """Python and packages; versions made in different environments are told apart."""
    groups: dict[str, list[str]] = {}
    for name, version in found.versions.items():
        made = version.metadata.get("environment", {})
        packages = made.get("packages", {})
        listed = ", ".join(f"{package} {packages[package]}" for package in SHOWN_PACKAGES if package in packages)
        text = f"Python {made.get('python')}, {listed}; {made.get('platform')}, {made.get('processor')}"
        groups.setdefault(f"{text}; source {made.get('source')}", []).append(name)
    for text, names in groups.items():
        console.print(f"made with {text}", markup=False, soft_wrap=True)
        if len(groups) > 1:
            console.print(f"  [dim]{', '.join(names)}[/]")


def _print_rows(rows: list[Row], table: str) -> None:
    shown = columns("id", "split", "source", "licence", "uri", "text", title=f"rows of {table}")
    for row in rows:
        shown.add_row(row.id, row.split, *(escape(part) for part in (row.source, row.licence, row.uri, cut(row.text))))
    console.print(shown)
