"""The `llm-assets` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llm_assets import cli_versions, huge_pages
from llm_assets.errors import UserError
from llm_assets.profile_command import profile

app = typer.Typer(
    help="An LLM factory: raw text in, a monitored, self-retraining endpoint out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", "-r", help="A recipe's name or path (default: the last one run here, or demo)."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe key: section.key=value.")]


@app.command()
def up(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
) -> None:
    """Run what is not fresh, then keep the Dagster UI, its daemon and the endpoint running until Ctrl-C."""
    from llm_assets.environment import enter
    from llm_assets.up import keep_up

    enter(recipe, overrides or [])
    from llm_assets.recipe import current_recipe, home_folder
    from resources.lakefs_server import store_server

    with store_server(current_recipe().store, home_folder()):
        raise typer.Exit(keep_up(port))


@app.command()
def run(
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    select: Annotated[
        str | None, typer.Option("--select", "-s", help="Dagster asset selection, e.g. '+aligned_model'.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compute anew what the store has already.")] = False,
) -> None:
    """Materialize what is not fresh (or what --select names) and exit; not zero when a gate fails."""
    from llm_assets.environment import enter

    enter(recipe, overrides or [])
    from llm_assets.recipe import current_recipe, home_folder
    from llm_assets.report import print_outcome
    from llm_assets.runs import run_graph
    from resources.lakefs_server import store_server

    with store_server(current_recipe().store, home_folder()):
        outcome = run_graph(select, force=force)
    print_outcome(outcome)
    raise typer.Exit(0 if outcome.success else 1)


@app.command()
def status(recipe: RecipeOption = None) -> None:
    """Each asset: its version on main, whether it is fresh, and what is being served."""
    from llm_assets.environment import enter

    enter(recipe)
    from llm_assets.report import print_status

    print_status()


@app.command()
def doctor(
    recipe: RecipeOption = None, port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000
) -> None:
    """Check Python, packages, ports, disk, store and endpoint; every failure prints its fix."""
    from llm_assets.environment import enter

    enter(recipe)
    from llm_assets.doctor import examine
    from llm_assets.recipe import current_recipe, home_folder
    from llm_assets.report import print_findings

    raise typer.Exit(print_findings(examine(current_recipe(), home_folder(), port)))


@app.command()
def chat(
    text: Annotated[str | None, typer.Argument(help="One message; without it, a conversation.")] = None,
    model: Annotated[str, typer.Option(help="A model the endpoint lists (see /v1/models).")] = "llm-assets-route",
    recipe: RecipeOption = None,
) -> None:
    """Talk to the endpoint."""
    from llm_assets.environment import enter

    enter(recipe)
    from llm_assets.chat import converse

    converse(text, model)


@app.command()
def simulate(
    requests: Annotated[int, typer.Option("--requests", "-n", min=1, help="How many requests.")] = 300,
    shift: Annotated[
        bool, typer.Option("--shift", help="Texts of packages that were not in the training data.")
    ] = False,
    feedback: Annotated[float, typer.Option(min=0, max=1, help="Share of replies that get feedback.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the choice of texts.")] = 0,
    recipe: RecipeOption = None,
) -> None:
    """Send realistic traffic to the endpoint, with people's feedback."""
    from llm_assets.environment import enter

    enter(recipe)
    from llm_assets.report import print_simulation

    print_simulation(requests, shift, feedback, seed)


@app.command()
def retrain(recipe: RecipeOption = None, overrides: SetOption = None) -> None:
    """Accept people's corrections as training data and run what that makes stale."""
    from llm_assets.environment import enter

    enter(recipe, overrides or [])
    from llm_assets.recipe import current_recipe, home_folder
    from llm_assets.report import print_outcome
    from llm_assets.runs import run_graph
    from llm_assets.serving.feedback import accept_feedback, accept_votes
    from llm_assets.terminal import console
    from resources.lakefs_server import store_server

    accepted = accept_feedback(home_folder())
    console.print(f"{accepted.count} corrections are training data now")
    if pairs := accept_votes(home_folder()).count:
        console.print(f"{pairs} pairs that people compared are preference pairs now")
    with store_server(current_recipe().store, home_folder()):
        outcome = run_graph()
    print_outcome(outcome)
    raise typer.Exit(0 if outcome.success else 1)


@app.command("openrefine-apply")
def openrefine_apply(
    history: Annotated[Path, typer.Argument(help="Operation history exported by OpenRefine (JSON).")],
    table: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .jsonl or .parquet.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it (default: NAME-refined).")] = None,
) -> None:
    """Replay an OpenRefine operation history over a table; what cannot be replayed is refused by name first."""
    from llm_assets.data.openrefine.apply import apply_history, print_replay

    print_replay(apply_history(history, table, out))


@app.command("tidy-table")
def tidy_table(
    table: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .jsonl or .parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the rows that stay are written.")],
    rejected: Annotated[Path | None, typer.Option(help="Where the others are written, each with its reason.")] = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
) -> None:
    """Standard forms, missing values, repairs and duplicate records of a table, as the recipe's data.table says."""
    from llm_assets.data.tidy_file import print_steps, tidy_file
    from llm_assets.recipe import find_recipe, load_recipe

    config = load_recipe(find_recipe(recipe or "demo"), overrides or []).data.table
    print_steps(tidy_file(table, out, rejected, config))


@app.command()
def down(recipe: RecipeOption = None) -> None:
    """Stop the endpoint that a run left serving."""
    from llm_assets.environment import enter

    enter(recipe)
    from llm_assets.recipe import current_recipe, home_folder
    from resources.endpoint import endpoint_of

    endpoint_of(current_recipe(), home_folder()).stop()
    typer.echo("the endpoint is stopped")


app.command("profile")(profile)
cli_versions.register(app)


def main() -> None:
    """Entry point: a UserError is printed, without a stack trace, and ends the command with 1."""
    huge_pages.ask()
    try:
        sys.exit(app(standalone_mode=False) or 0)  # the code of a typer.Exit comes back as the result
    except UserError as error:
        from llm_assets.terminal import console

        console.print("[red]error:[/]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        sys.exit(1)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "show"):
            raise
        error.show()  # a usage error of the command line
        sys.exit(2)


if __name__ == "__main__":
    main()
