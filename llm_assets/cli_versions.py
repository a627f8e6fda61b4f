"""The commands about versions: each finds what it needs and prints what `llm_assets.versions` gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from resources.store import ManagedStore

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="asset, asset@<data version or release>, v3, run/<id>, a commit, or a reply's id."
    ),
]
RecipeOption = Annotated[str | None, typer.Option("--recipe", "-r", help="A recipe's name or path (default: demo).")]


def register(app: typer.Typer) -> None:
    for command in (lineage, history, diff, reproduce, rollback, erase, gc):
        app.command(rich_help_panel="Versions")(command)


def lineage(
    name: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="A version, or a reply's id; with --downstream: a row's id or source:<name>."
        ),
    ],
    downstream: Annotated[
        bool, typer.Option("--downstream", help="From a row or source to every artifact and model that saw it.")
    ] = False,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Show some of the rows it was made from.")] = 0,
    recipe: RecipeOption = None,
) -> None:
    """Where a version comes from, down to the rows and their licences; or where a row has gone."""
    from llm_assets.report_lineage import print_lineage, print_sightings
    from llm_assets.versions.lineage import trace
    from llm_assets.versions.sightings import sightings

    with _opened(recipe) as (store, home):
        if downstream:
            print_sightings(sightings(store, home, name))
        else:
            print_lineage(trace(store, home, name, rows))


def history(
    asset: Annotated[str | None, typer.Argument(help="One asset: its versions. Without it: the releases.")] = None,
    recipe: RecipeOption = None,
) -> None:
    """What main has held, newest first, and what each release changed."""
    from llm_assets.report_versions import print_history, print_versions
    from llm_assets.versions.history import releases_with_changes, versions_of
    from llm_assets.versions.names import require_asset

    with _opened(recipe) as (store, _):
        if asset is None:
            print_history(releases_with_changes(store))
        else:
            print_versions(versions_of(store, require_asset(store, asset)))


def diff(
    first: NameArgument,
    second: NameArgument,
    samples: Annotated[int, typer.Option("--samples", min=0, help="Rows shown of each kind of a table.")] = 3,
    recipe: RecipeOption = None,
) -> None:
    """What differs between two releases, or two versions of one asset."""
    from llm_assets.report_versions import print_changes, print_diff
    from llm_assets.versions.diff import VersionDiff
    from llm_assets.versions.diff import diff as compare

    with _opened(recipe) as (store, home):
        found = compare(store, home, first, second, samples)
        if isinstance(found, VersionDiff):
            print_diff(found)
        else:
            print_changes(found)


def reproduce(
    version: NameArgument,
    only: Annotated[bool, typer.Option("--only", help="This asset alone, from its stored inputs.")] = False,
    recipe: RecipeOption = None,
) -> None:
    """Compute a version again in isolation and compare; not zero when anything differs."""
    from llm_assets.report_changes import print_reproduction
    from llm_assets.versions.names import resolve_one
    from llm_assets.versions.reproduce import reproduce as make_again

    with _opened(recipe) as (store, home):
        done = make_again(store, home, resolve_one(store, home, version)[1], only)
        print_reproduction(done)
        raise typer.Exit(0 if done.same else 1)


def rollback(
    release: Annotated[str, typer.Argument(help="A release, as `llm-assets history` lists them.")],
    recipe: RecipeOption = None,
) -> None:
    """Make main and the endpoint what they were at an earlier release, with no failed request."""
    import dagster as dg

    from llm_assets.publish import report_versions, runs_in_flight
    from llm_assets.recipe import current_recipe
    from llm_assets.report_changes import print_rollback
    from llm_assets.versions.rollback import roll_back
    from resources.endpoint import endpoint_of

    with _opened(recipe) as (store, home):
        done = roll_back(store, endpoint_of(current_recipe(), home), release)
        with dg.DagsterInstance.get() as instance:
            moved = {change.asset: change.after for change in done.changes if change.after}
            report_versions(instance, moved, f"main went back to {done.target.name}")
            print_rollback(done, [run.run_id for run in runs_in_flight(instance)])


def erase(
    name: Annotated[str, typer.Argument(metavar="ROW|source:NAME", help="A row's id or content hash, or a source.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what saw it.")] = False,
    recipe: RecipeOption = None,
) -> None:
    """Erase a row, or a source, from every artifact and model that saw it, and prove it."""
    import dagster as dg

    from llm_assets.recipe import current_recipe
    from llm_assets.report import print_outcome
    from llm_assets.report_changes import print_erasure, print_to_erase
    from llm_assets.runs import run_graph
    from llm_assets.versions.erase import erase as take_out
    from llm_assets.versions.erase import to_erase
    from resources.endpoint import endpoint_of

    def rebuild(assets: list[str]) -> str:
        outcome = run_graph(" or ".join(assets))
        print_outcome(outcome)
        return "" if outcome.success else f"run {outcome.run_id} did not succeed"

    with _opened(recipe) as (store, home):
        print_to_erase(to_erase(store, home, name))
        if dry_run:
            return
        with dg.DagsterInstance.get() as instance:
            endpoint = endpoint_of(current_recipe(), home)
            done = take_out(store, home, name, endpoint=endpoint, instance=instance, rebuild=rebuild)
        print_erasure(done)
        raise typer.Exit(0 if done.complete else 1)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="How long the branches of failed runs stay.")
    ] = 14,
    recipe: RecipeOption = None,
) -> None:
    """Remove what no release, no run in flight and no recent run refers to."""
    import dagster as dg

    from llm_assets.materialize import run_branch
    from llm_assets.publish import close_dead_runs, runs_in_flight
    from llm_assets.report_changes import print_garbage
    from llm_assets.versions.retention import collect

    with _opened(recipe) as (store, _):
        with dg.DagsterInstance.get() as instance:
            close_dead_runs(instance)
            in_flight = {run_branch(run) for run in runs_in_flight(instance)}
        print_garbage(collect(store, in_flight, keep_days, dry_run), dry_run)


@contextmanager
def _opened(recipe: str | None) -> Iterator[tuple[ManagedStore, Path]]:
    """The store, with its server running where it needs one, and the state folder."""
    from llm_assets.environment import enter

    enter(recipe)
    import llm_assets.definitions  # noqa: F401  (declares the nodes)
    from llm_assets.recipe import current_recipe, home_folder
    from resources.lakefs_server import store_server
    from resources.workspace import open_store

    with store_server(current_recipe().store, home_folder()):
        yield open_store(home_folder()), home_folder()
