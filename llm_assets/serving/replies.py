"""From a checked request to its reply: prompts, rows, the exact-reply cache, and OpenAI's reply objects."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from llm_assets.chat_format import render_chat
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.package import RAW_MODEL, Served
from llm_assets.serving.protocol import ApiError, ChatRequest, CompletionRequest
from llm_assets.serving.sampling import Sampling


@dataclass
class Choice:
    text: str = ""
    tokens: int = 0
    finish: str | None = None


@dataclass
class Reply:
    """One request on its way. `text` is what the user asked, bare of templates; `prompts` are token ids."""

    kind: str  # "chat" or "completion"
    model: str
    package: Served
    text: str
    prompts: list[list[int]]
    sampling: Sampling
    n: int
    started: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = ""
    choices: list[Choice] = field(default_factory=list)
    first: float = 0.0
    cached: bool = False
    probe: bool = False  # monitoring's own request: not traffic, and always answered by the model itself

    def __post_init__(self) -> None:
        self.id = f"{'chatcmpl' if self.kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"
        self.choices = [Choice() for _ in range(self.n * len(self.prompts))]

    @property
    def task(self) -> str | None:
        return self.package.tasks[self.model][0] if self.model != RAW_MODEL else None

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def usage(self) -> dict[str, int]:
        given, made = self.prompt_tokens, self.completion_tokens
        return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}

    @property
    def cache_key(self) -> tuple[Any, ...]:
        return (self.package.digest, self.model, tuple(map(tuple, self.prompts)), self.n, self.sampling)

    @property
    def repeatable(self) -> bool:
        """Whether the same request would get the same reply again."""
        return self.sampling.temperature == 0 or self.sampling.seed is not None

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.package.digest,
        }

    def whole(self) -> dict[str, Any]:
        chat = self.kind == "chat"
        choices: list[dict[str, Any]] = []
        for index, choice in enumerate(self.choices):
            said: dict[str, Any] = (
                {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
                if chat
                else {"text": choice.text}
            )
            choices.append({"index": index, **said, "logprobs": None, "finish_reason": choice.finish})
        return self._head("chat.completion" if chat else "text_completion") | {
            "choices": choices,
            "usage": self.usage,
        }

    def chunk(self, index: int, text: str | None, finish: str | None = None) -> dict[str, Any]:
        """One piece of a stream; text None is the opening of a chat's choice."""
        chat = self.kind == "chat"
        said: dict[str, Any] = {"text": text or ""}
        if chat:
            delta = {"role": "assistant", "content": ""} if text is None else {"content": text} if text else {}
            said = {"delta": delta}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk" if chat else "text_completion") | {"choices": [choice]}

    def usage_chunk(self) -> dict[str, Any]:
        head = self._head("chat.completion.chunk" if self.kind == "chat" else "text_completion")
        return head | {"choices": [], "usage": self.usage}


def prepare(request: ChatRequest | CompletionRequest, package: Served, settings: ServingConfig) -> Reply:
    """Render and count; raises ApiError for what the model or the limits do not allow."""
    from llm_assets.prompts import render_prompt

    if request.model not in package.names:
        raise ApiError(
            404,
            f"model {request.model!r} does not exist; this server has {', '.join(package.names)}",
            param="model",
            code="model_not_found",
        )
    chat = isinstance(request, ChatRequest)
    template = package.tasks[request.model][1] if request.model in package.tasks else None
    if isinstance(request, ChatRequest):
        messages = [message.plain() for message in request.messages]
        asked = [next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")]
        if template and not asked[0].strip():
            raise ApiError(400, f"{request.model} answers the last user message, which is missing", param="messages")
        rendered = [render_prompt(template, asked[0]) if template else render_chat(messages)]
    else:
        asked = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        rendered = [render_prompt(template, text) if template else text for text in asked]
    n = request.n or 1
    if not 1 <= n * len(asked) <= settings.max_choices:
        raise ApiError(
            400, f"one request may have 1 to {settings.max_choices} choices, not {n * len(asked)}", param="n"
        )
    prompts = [package.model.tokenizer.encode(text).ids for text in rendered]
    longest, where = max(map(len, prompts)), "messages" if chat else "prompt"
    if min(map(len, prompts)) == 0:
        raise ApiError(400, "the prompt is empty", param=where)
    context, limit = package.model.context, request.limit()
    if longest + (limit or 1) > context:
        raise ApiError(
            400,
            f"this model's context is {context} tokens; the prompt has {longest}, and the reply may have {limit or 1}",
            param=where,
            code="context_length_exceeded",
        )
    temperature = request.temperature
    if temperature is None:
        temperature = 0.0 if template else 1.0  # a task has one answer
    sampling = Sampling(
        max_tokens=limit or min(settings.default_max_tokens, context - longest),
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=request.stops(),
    )
    return Reply("chat" if chat else "completion", request.model, package, "\n".join(asked), prompts, sampling, n)


def sse(value: dict[str, Any] | str) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()
