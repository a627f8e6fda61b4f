"""The one factory from a `Suite` to blocking Dagster asset checks, one check per expectation.

A gate validates the version on the run's branch: the bytes that downstream steps will read, not a value in memory.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from llm_assets import graph
from llm_assets.artifacts import read_table
from llm_assets.errors import UserError
from llm_assets.materialize import run_branch
from llm_assets.progress import State, Update, announce
from llm_assets.quality.suite import METRICS, Expect, FromPrevious, FromRecipe, Suite
from llm_assets.recipe import Recipe
from resources.store import MAIN, Version, VersionStore

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import AbstractDataContext

EXAMPLES = 8


def gate(asset: str, suites: Sequence[Suite]) -> dg.AssetChecksDefinition:
    """The asset's checks; those of critical severity hold back everything downstream when they fail."""
    specs = [
        dg.AssetCheckSpec(
            expectation.name,
            asset=asset,
            blocking=expectation.severity == "critical",
            description=_describe(expectation),
            metadata={"expectation": expectation.kind},
        )
        for suite in suites
        for expectation in suite.expectations
    ]

    @dg.multi_asset_check(
        name=f"{asset}_gate",
        specs=specs,
        can_subset=True,
        required_resource_keys={"recipe", "store"},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        started = time.monotonic()
        store = context.resources.store.open()
        recipe = context.resources.recipe.load()
        selected = {key.name for key in context.selected_asset_check_keys}
        results: list[dg.AssetCheckResult] = []
        for suite in suites:
            wanted = [expectation for expectation in suite.expectations if expectation.name in selected]
            results += validate(suite, wanted, store, run_branch(context.run), recipe)
        failed = [result.check_name for result in results if not result.passed]
        state: State = "failed" if any(_blocks(result) for result in results) else "gated"
        note = f"gate {', '.join(str(name) for name in failed)} did not pass" if failed else ""
        announce(Update(asset, state, note=note, gate_seconds=time.monotonic() - started))
        yield from results

    return checks


def gates(suites: Sequence[Suite]) -> list[dg.AssetChecksDefinition]:
    """One gate an asset."""
    assets = dict.fromkeys(suite.asset for suite in suites)
    return [gate(asset, [suite for suite in suites if suite.asset == asset]) for asset in assets]


def validate(
    suite: Suite, expectations: Sequence[Expect], store: VersionStore, branch: str, recipe: Recipe
) -> list[dg.AssetCheckResult]:
    """Check results for the version of the suite's asset on `branch` (on `main` where the branch has none)."""
    if not expectations:
        return []
    published = store.heads(MAIN)
    heads = store.heads(branch) or published
    if suite.asset not in heads:
        raise dg.Failure(f"{suite.asset} has no version yet: materialize it first", allow_retries=False)
    version, previous = heads[suite.asset], published.get(suite.asset)
    try:
        frame = _frame(suite, version, store)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    resolved = [(expectation, _resolve(expectation, recipe, previous)) for expectation in expectations]
    outcomes = iter(_run(suite.asset, frame, [pair for pair in resolved if pair[1] is not None]))
    return [
        _result(suite.asset, expectation, next(outcomes), frame)
        if kwargs is not None
        else _unbounded(suite.asset, expectation)
        for expectation, kwargs in resolved
    ]


def _frame(suite: Suite, version: Version, store: VersionStore) -> "pd.DataFrame":
    import pandas as pd

    if suite.frame == METRICS:
        return pd.DataFrame([version.summary.metrics])
    return read_table(store.checkout(version) / suite.frame).to_pandas()


def _resolve(expectation: Expect, recipe: Recipe, previous: Version | None) -> dict[str, Any] | None:
    """The expectation's arguments with its bounds filled in; None when the only bounds are an earlier version's."""
    kwargs: dict[str, Any] = {}
    for name, value in expectation.kwargs.items():
        if isinstance(value, FromRecipe):
            kwargs[name] = graph.recipe_value(recipe, value.path)
        elif isinstance(value, FromPrevious):
            metric = previous.summary.metrics.get(value.metric) if previous else None
            if not isinstance(metric, int | float):
                return None
            kwargs[name] = metric + value.plus - value.minus
        else:
            kwargs[name] = value
    return kwargs


def _run(
    name: str, frame: "pd.DataFrame", expectations: Sequence[tuple[Expect, dict[str, Any] | None]]
) -> "list[ExpectationValidationResult]":
    """One validation of `frame`; results in the order of `expectations`."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    if not expectations:
        return []
    batch = _context().data_sources.all()["artifacts"].get_asset("frame").get_batch_definition("whole")
    built = [
        getattr(gxe, expectation.kind)(severity=expectation.severity, meta={"name": expectation.name}, **(kwargs or {}))
        for expectation, kwargs in expectations
    ]
    suite = gx.ExpectationSuite(name=name, expectations=built)
    names = {expectation.name for expectation, _ in expectations}
    if not len(suite.expectations) == len(built) == len(names):
        # Great Expectations logs and drops what it takes for a duplicate or a mistake; a gate must not shrink.
        raise UserError(f"the suite of {name} declares an expectation twice or one that is invalid")
    validation = batch.get_batch({"dataframe": frame}).validate(
        suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    )
    by_name = {result.expectation_config.meta["name"]: result for result in validation.results}
    return [by_name[expectation.name] for expectation, _ in expectations]


@cache
def _context() -> "AbstractDataContext":
    """One ephemeral context a process, with one asset that takes any data frame."""
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("artifacts")
    source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")
    return context


def _result(
    asset: str, expectation: Expect, outcome: "ExpectationValidationResult", frame: "pd.DataFrame"
) -> dg.AssetCheckResult:
    detail: Mapping[str, Any] = outcome.result or {}
    exception = outcome.exception_info or {}
    raised = exception.get("exception_message") or next(
        (item.get("exception_message") for item in exception.values() if isinstance(item, dict)), None
    )
    metadata: dict[str, Any] = {"checked": len(frame)}
    for name in ("observed_value", "unexpected_count", "unexpected_percent"):
        value = detail.get(name)
        value = getattr(value, "item", lambda value=value: value)()  # NumPy's numbers are no Dagster metadata
        if isinstance(value, int | float | str):
            metadata[name] = value
    if detail.get("partial_unexpected_list"):
        metadata["examples"] = dg.MetadataValue.json([str(value) for value in detail["partial_unexpected_list"]])
    if raised:
        metadata["error"] = raised
    return dg.AssetCheckResult(
        passed=bool(outcome.success) and not raised,
        asset_key=asset,
        check_name=expectation.name,
        severity=_severity(expectation),
        metadata=metadata,
        description=_describe(expectation),
    )


def _unbounded(asset: str, expectation: Expect) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=True,
        asset_key=asset,
        check_name=expectation.name,
        severity=_severity(expectation),
        description="no earlier version to compare with",
    )


def _severity(expectation: Expect) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if expectation.severity == "critical" else dg.AssetCheckSeverity.WARN


def _blocks(result: dg.AssetCheckResult) -> bool:
    return not result.passed and result.severity == dg.AssetCheckSeverity.ERROR


def _describe(expectation: Expect) -> str:
    """'ExpectColumnMinToBeBetween: column=accuracy, min_value=training.gates.min_accuracy (recipe)'."""

    def text(value: Any) -> str:
        if isinstance(value, FromRecipe):
            return f"{value.path} (recipe)"
        if isinstance(value, FromPrevious):
            return f"the previous version's {value.metric} {value.plus - value.minus:+g}"
        return str(value)

    arguments = ", ".join(f"{name}={text(value)}" for name, value in expectation.kwargs.items())
    return f"{expectation.kind}: {arguments}"
