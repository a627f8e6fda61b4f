"""Paraphrases from a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.augment.cache import TextCache
from llm_assets.data.augment.config import Paraphrase
from llm_assets.errors import UserError


@dataclass(frozen=True)
class Paraphrases:
    """texts: one for each asked, None where there is none; requests: that were sent; failed: that got no answer."""

    texts: list[str | None]
    requests: int
    failed: int
    tokens: int


def paraphrase_texts(
    asked: Sequence[tuple[str, int]], config: Paraphrase, cache: Path, progress: Progress = no_progress
) -> Paraphrases:
    """The first `config.max_requests` texts in other words; `asked`: (text, number of this paraphrase of it).

    An answer is kept in `cache`, by text, model and settings: what was paid for once is not asked again, and a rerun
    gives the same rows. One request in vain costs its row; a refused key, an unknown model, or an endpoint that
    answers nothing at all, raises UserError.
    """
    key = os.environ.get(config.key_variable)
    settings = config.model_dump(mode="json", include={"url", "model", "instruction", "temperature", "max_tokens"})
    known = TextCache(cache, settings)
    try:
        wanted = list(dict.fromkeys(asked))[: config.max_requests]
        values = known.get([f"{number} {text}" for text, number in wanted])
        found = {one: value for one, value in zip(wanted, values, strict=True) if value is not None}
        missing = [one for one in wanted if one not in found]
        failed = tokens = 0
        if missing and not key:
            raise UserError(f"paraphrase: the environment variable {config.key_variable} holds no API key")
        if missing:
            with ThreadPoolExecutor(config.workers) as pool:
                ask = _asker(config, str(key))
                for start in range(0, len(missing), config.workers):
                    part = missing[start : start + config.workers]
                    for one, (answer, used) in zip(part, pool.map(ask, [text for text, _ in part]), strict=True):
                        tokens += used
                        if answer is None:
                            failed += 1
                        else:
                            known.put([f"{one[1]} {one[0]}"], [answer])
                            found[one] = answer
                    if failed == start + len(part):
                        raise UserError(f"paraphrase: {config.url} answered none of the first {failed} requests")
                    progress(len(found), len(wanted), "paraphrases")
    finally:
        known.close()
    return Paraphrases([found.get(one) for one in asked], len(missing), failed, tokens)


def _asker(config: Paraphrase, key: str) -> Callable[[str], tuple[str | None, int]]:
    """A function: text -> (its paraphrase, or None when the retries are used up; tokens paid for)."""
    import openai

    client = openai.OpenAI(base_url=str(config.url), api_key=key, timeout=config.timeout, max_retries=config.retries)

    def ask(text: str) -> tuple[str | None, int]:
        try:
            answer = client.chat.completions.create(
                model=config.model,
                messages=[{"role": "system", "content": config.instruction}, {"role": "user", "content": text}],
                temperature=config.temperature,
                max_tokens=config.max_tokens,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise UserError(f"paraphrase: {config.url} refused the request for {config.model!r}: {error}") from None
        except openai.APIError:
            return None, 0
        content = (answer.choices[0].message.content if answer.choices else None) or ""
        return " ".join(content.split()), answer.usage.total_tokens if answer.usage else 0

    return ask
