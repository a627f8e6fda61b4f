"""Reading an operation's JSON object field by field; an error names the operation, the field and what was allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm_assets.errors import UserError

_MISSING = object()


class Fields:
    """One JSON object of a history. `where` says which operation it belongs to."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise UserError(f"{where}: must be a JSON object, it is {type(value).__name__}")
        self._value, self.where = value, where

    def error(self, what: str) -> UserError:
        return UserError(f"{self.where}: {what}")

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def raw(self, name: str, default: Any = _MISSING) -> Any:
        value = self._value.get(name)
        if value is not None:
            return value
        if default is _MISSING:
            raise self.error(f"the field {name!r} is missing")
        return default

    def _typed(self, name: str, kind: type | tuple[type, ...], what: str, default: Any) -> Any:
        value = self.raw(name, default)
        wrong_bool = isinstance(value, bool) and kind is not bool
        if value is not default and (wrong_bool or not isinstance(value, kind)):
            raise self.error(f"the field {name!r} must be {what}, it is {value!r}")
        return value

    def text(self, name: str, default: Any = _MISSING) -> str:
        return str(self._typed(name, str, "a text", default))

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self._typed(name, bool, "true or false", default))

    def whole(self, name: str, default: Any = _MISSING) -> int:
        return int(self._typed(name, int, "a whole number", default))

    def number(self, name: str, default: float | None) -> float | None:
        value = self._typed(name, (int, float), "a number", default)
        return None if value is None else float(value)

    def choice(self, name: str, allowed: Sequence[str], default: Any = _MISSING) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise self.error(f"{name} {value!r} is not supported; one of {', '.join(allowed)} is")
        return value

    def texts(self, name: str) -> list[str]:
        value = self._typed(name, list, "a list of texts", _MISSING)
        if not all(isinstance(item, str) for item in value):
            raise self.error(f"the field {name!r} must be a list of texts, it is {value!r}")
        return list(value)

    def wholes(self, name: str) -> list[int]:
        value = self._typed(name, list, "a list of whole numbers", _MISSING)
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            raise self.error(f"the field {name!r} must be a list of whole numbers, it is {value!r}")
        return list(value)

    def section(self, name: str) -> Fields:
        return Fields(self.raw(name), f"{self.where}: {name}")

    def sections(self, name: str) -> list[Fields]:
        value = self._typed(name, list, "a list of objects", [])
        return [Fields(item, f"{self.where}: {name}[{n}]") for n, item in enumerate(value)]
