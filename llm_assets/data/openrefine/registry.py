"""The functions of GREL by name. A function gets its arguments as a list and returns a value, or an `EvalError`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm_assets.data.openrefine.values import EvalError, Value


@dataclass(frozen=True)
class Function:
    name: str
    least: int
    most: int
    call: Callable[..., Value]

    def __call__(self, arguments: list[Value]) -> Value:
        if not self.least <= len(arguments) <= self.most:
            return EvalError(f"{self.name} expects {self.least} to {self.most} arguments, it got {len(arguments)}")
        return self.call(*arguments)


FUNCTIONS: dict[str, Function] = {}


def function(
    *names: str, least: int = 1, most: int | None = None
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Register under each of `names`, with the number of arguments allowed."""

    def register(call: Callable[..., Value]) -> Callable[..., Value]:
        for name in names:
            FUNCTIONS[name] = Function(name, least, least if most is None else most, call)
        return call

    return register


def wrong(name: str, expected: str) -> EvalError:
    return EvalError(f"{name} expects {expected}")


# What OpenRefine knows and a replay cannot do, with the reason that its refusal gives.
REFUSED = {
    "now": "the result would differ from run to run",
    "random": "the result would differ from run to run",
    "randomNumber": "the result would differ from run to run",
    "cross": "it reads another OpenRefine project",
    "facetCount": "it needs the counts of an interactive facet",
    "detectLanguage": "it needs OpenRefine's language model",
}
