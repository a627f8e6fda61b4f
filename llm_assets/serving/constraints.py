"""Constrained decoding: JSON schemas, regular expressions and choices as masks over the vocabulary (llguidance)."""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from llm_assets.serving.package import Served
from llm_assets.serving.patterns import ascii_classes, ascii_schema
from llm_assets.serving.protocol import ApiError, shown
from llm_assets.serving.sampling import Constraint, Matcher
from llm_assets.serving.vocabulary import Vocabulary, vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from llguidance._lib import JsonCompileOptions

KEPT = 64  # compiled grammars a package
COMPILE_SECONDS = 3.0


class TokenMatcher(Matcher):
    """One reply's way through a grammar. `error` says why it could not go on: the reply is then not what was asked."""

    def __init__(self, matcher: LLMatcher, words: Vocabulary) -> None:
        self._matcher, self._eos = matcher, words.eos
        self._bits = np.zeros((1, (words.size + 31) // 32), dtype=np.int32)
        self.error: str | None = None

    def mask(self, logits: np.ndarray) -> None:
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        allowed = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")[: len(logits)].astype(bool)
        if self._matcher.is_error() or not allowed.any():
            self.error = self._matcher.get_error() or "no token of this model can go on"
            allowed[:] = False
            allowed[self._eos] = True
        logits[~allowed] = -np.inf

    def advance(self, token: int) -> None:
        if not self._matcher.consume_token(token) and self.error is None:
            self.error = self._matcher.get_error()


class Grammars:
    """Compiles constraints, and keeps the last ones of each package."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Served, OrderedDict[Constraint, LLMatcher]] = WeakKeyDictionary()
        self._thread = ThreadPoolExecutor(1, "grammars")  # one: compiling must not take the engine's cores

    async def matchers(self, package: Served, constraint: Constraint, count: int, param: str) -> list[TokenMatcher]:
        """`count` matchers of one constraint. Raises ApiError 400, about `param`, where it cannot be compiled."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._compiled, package, constraint)
        try:
            matcher = await asyncio.wait_for(work, COMPILE_SECONDS)
        except TimeoutError:
            raise _refused(param, f"it took longer than {COMPILE_SECONDS:g} s to compile") from None
        except (ValueError, RecursionError) as error:
            raise _refused(param, str(error)) from None
        words = vocabulary(package)
        return [TokenMatcher(matcher.deep_copy(), words) for _ in range(count)]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _compiled(self, package: Served, constraint: Constraint) -> LLMatcher:
        kept = self._kept.setdefault(package, OrderedDict())
        if constraint not in kept:
            kept[constraint] = compile_constraint(constraint, vocabulary(package))
            while len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end(constraint)
        return kept[constraint]


def compile_constraint(constraint: Constraint, words: Vocabulary) -> LLMatcher:
    """Raises ValueError, saying why, for what is malformed, not supported or too large."""
    from llguidance import LLMatcher, LLParserLimits

    if words.grammar_tokens is None:
        raise ValueError(f"this model's tokenizer allows no constraints ({words.unreadable})")
    # The work of one step is on the engine's thread, where other rows wait for it: 20,000 units of lexer fuel are about
    # 2 ms, and rarely as much as 60.
    limits = LLParserLimits(
        initial_lexer_fuel=500_000,
        step_lexer_fuel=20_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )
    matcher = LLMatcher(words.grammar_tokens, _grammar(constraint), log_level=0, limits=limits)
    if not matcher.is_error():
        matcher.compute_bitmask()  # a first step that is too much is told now
    if matcher.is_error():
        raise ValueError(matcher.get_error().split("\n<")[0].strip() or "no reply can be what it asks for")
    return matcher


def _grammar(constraint: Constraint) -> str:
    from llguidance import LLMatcher

    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(ascii_classes(constraint.value))
    if constraint.kind == "choice":
        return LLMatcher.grammar_from_regex("|".join(map(re.escape, json.loads(constraint.value))))
    schema = json.loads(constraint.value)
    if not isinstance(schema, dict):
        raise ValueError("a JSON schema is an object")
    # Whitespace without bounds would let a reply go on for ever. Overrides stand above what a client's schema says.
    overrides: JsonCompileOptions = {"whitespace_pattern": " ?", "lenient": False}
    return LLMatcher.grammar_from_json_schema(ascii_schema(schema), overrides=overrides)


def _refused(param: str, why: str) -> ApiError:
    return ApiError(400, f"'{param}' cannot be used: {shown(why)}", param=param, code="invalid_value")
