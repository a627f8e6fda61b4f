"""How a package is asked for the label of a text, over HTTP: by its kind, a chat with its task's model, or a
classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_assets.serving.package import RAW_MODEL, is_encoder

WHOLE_CONTEXT = -1  # of `truncate_prompt_tokens`: as much of the text as the model reads


def question(package: Mapping[str, Any], task: str, text: str) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request. package: what `package.json` says. An encoder has one task: its classes."""
    if is_encoder(package):
        return "/v1/classify", {"model": RAW_MODEL, "input": text, "truncate_prompt_tokens": WHOLE_CONTEXT}
    asked = [{"role": "user", "content": text}]
    return "/v1/chat/completions", {"model": f"{RAW_MODEL}-{task}", "messages": asked, "temperature": 0}


def answer(reply: Mapping[str, Any]) -> str:
    """What the endpoint's reply says. KeyError or IndexError where it is none."""
    if "data" in reply:
        return str(reply["data"][0]["label"])
    return str(reply["choices"][0]["message"]["content"])
