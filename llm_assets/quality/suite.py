"""A suite as its stage declares it: plain data, so that reading the graph imports no Great Expectations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]
METRICS = "metrics"


@dataclass(frozen=True)
class FromRecipe:
    """A bound that the recipe holds, by its dotted path."""

    path: str


@dataclass(frozen=True)
class FromPrevious:
    """A bound relative to the version on `main`: its metric, plus or minus a margin. No earlier version, no bound."""

    metric: str
    plus: float = 0.0
    minus: float = 0.0


def recipe_value(path: str) -> Any:
    return FromRecipe(path)


def previous_metric(metric: str, *, plus: float = 0.0, minus: float = 0.0) -> Any:
    return FromPrevious(metric, plus, minus)


@dataclass(frozen=True, init=False)
class Expect:
    """One expectation. `kind` is a Great Expectations class; a critical one that fails stops everything downstream."""

    name: str
    kind: str
    severity: Severity
    kwargs: dict[str, Any]

    def __init__(self, name: str, kind: str, severity: Severity = "critical", **kwargs: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "severity", severity)
        object.__setattr__(self, "kwargs", kwargs)


@dataclass(frozen=True)
class Suite:
    """What is expected of one frame of an asset; an asset's gate is all of its suites.

    frame: what is validated: the name of a Parquet file in the artifact, or "metrics" for one row of its
        `Summary.metrics`.
    """

    asset: str
    frame: str
    expectations: Sequence[Expect]
