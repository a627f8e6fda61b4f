"""From a checked request to a reply on its way: prompts, how tokens are chosen, choices."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from llm_assets.chat_format import render_chat
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.package import RAW_MODEL, Served
from llm_assets.serving.protocol import ApiError, shown
from llm_assets.serving.requests import ChatRequest, CompletionRequest, Message
from llm_assets.serving.sampling import Sampling, TokenLogprob
from llm_assets.serving.vocabulary import token_ids

if TYPE_CHECKING:
    from llm_assets.serving.constraints import TokenMatcher
    from llm_assets.serving.rows import Event

SHORT = 1024  # token ids of prompts, whose text is looked up when it is logged: nobody waits for it then


@dataclass
class Choice:
    text: str = ""
    tokens: int = 0
    finish: str | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(eq=False)
class Reply:
    """One request on its way. `asked` is what the user asked, bare of templates, None of token ids whose text is not
    known yet; `prompts` are token ids.

    echoes: per prompt, what each of its choices' text begins with. deadline: of the monotonic clock.
    matchers: one a choice, where a constraint holds. events: what the engine tells of its rows. frame: a chat's
    messages without what the user asked last, None of a completion.
    """

    kind: Literal["chat", "completion"]
    model: str
    package: Served
    asked: str | None
    prompts: list[list[int]]
    sampling: Sampling
    n: int
    deadline: float
    constrained_by: str = ""
    echoes: list[str] = field(default_factory=list)
    frame: tuple[tuple[str, str], ...] | None = None
    matchers: list[TokenMatcher] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = ""
    choices: list[Choice] = field(default_factory=list)
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    first: float = 0.0
    cached: bool = False
    streamed: bool = False
    tokens_as_ids: bool = False  # how tokens are named in log-probabilities
    probe: bool = False  # monitoring's own request: not traffic, and always answered by the model itself

    def __post_init__(self) -> None:
        self.id = f"{'chatcmpl' if self.kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"
        self.choices = [Choice() for _ in range(self.n * len(self.prompts))]

    @cached_property
    def text(self) -> str:
        """What the user asked."""
        return "\n".join(_decoded(self.prompts, self.package)) if self.asked is None else self.asked

    @property
    def task(self) -> str | None:
        return self.package.tasks[self.model][0] if self.model != RAW_MODEL else None

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @cached_property
    def cache_key(self) -> bytes:
        """A digest of all that decides on the reply: keys of long prompts and schemas take no memory."""
        asked = (self.package.digest, self.model, self.prompts, self.n, self.sampling)
        return hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).digest()

    @property
    def repeatable(self) -> bool:
        """Whether the same request would get the same reply again."""
        return self.sampling.temperature == 0 or self.sampling.seed is not None

    def echo(self, index: int) -> str:
        return self.echoes[index // self.n] if self.echoes else ""


def prepare(
    request: ChatRequest | CompletionRequest, package: Served, settings: ServingConfig, deadline: float
) -> Reply:
    """Render and count; raises ApiError for what the model or the limits do not allow."""
    require_model(request.model, package)
    n = request.n or 1
    several = isinstance(request, CompletionRequest) and isinstance(request.prompt, list)
    count = len(request.prompt) if several and not isinstance(request.prompt[0], int) else 1  # type: ignore[union-attr]
    if not 1 <= n * count <= settings.max_choices:
        raise ApiError(
            400,
            f"one request may have 1 to {settings.max_choices} choices, not {n * count}",
            param="n" if n > 1 else "prompt",
            code="invalid_value",
        )
    asked, prompts = _prompts(request, package)
    where = "messages" if isinstance(request, ChatRequest) else "prompt"
    longest, limit, context = max(map(len, prompts)), request.limit(), package.model.context
    if min(map(len, prompts)) == 0:
        raise ApiError(400, "the prompt is empty", param=where, code="invalid_value")
    if longest + (limit or 1) > context:
        raise ApiError(
            400,
            f"this model's context is {context} tokens; the prompt has {longest}, and the reply may have {limit or 1}",
            param=where,
            code="context_length_exceeded",
        )
    sampling, constrained_by = _sampling(request, package, limit or min(settings.default_max_tokens, context - longest))
    return Reply(
        "chat" if isinstance(request, ChatRequest) else "completion",
        request.model,
        package,
        None if asked is None else "\n".join(asked),
        prompts,
        sampling,
        n,
        deadline,
        constrained_by,
        asked if asked and isinstance(request, CompletionRequest) and request.echo else [],
        _frame(request.messages) if isinstance(request, ChatRequest) else None,
        tokens_as_ids=isinstance(request, CompletionRequest) and bool(request.return_tokens_as_token_ids),
    )


def _frame(messages: list[Message]) -> tuple[tuple[str, str], ...]:
    plain = [message.plain() for message in messages]
    asked = max((at for at, message in enumerate(plain) if message["role"] == "user"), default=-1)
    return tuple((message["role"], "" if at == asked else message["content"]) for at, message in enumerate(plain))


def require_model(name: str, package: Served) -> None:
    if name not in package.names:
        raise ApiError(
            404,
            f"model '{shown(name)}' does not exist; this server has {', '.join(package.names)}",
            param="model",
            code="model_not_found",
        )


def render(messages: list[Message], model: str, package: Served) -> tuple[str, str]:
    """What the user asked, and the whole prompt. A task's model takes the last user message alone."""
    from llm_assets.prompts import render_prompt

    plain = [message.plain() for message in messages]
    asked = next((message["content"] for message in reversed(plain) if message["role"] == "user"), "")
    if model not in package.tasks:
        return asked, render_chat(plain)
    if not asked.strip():
        raise ApiError(400, f"{model} answers the last user message, which is missing", param="messages")
    return asked, render_prompt(package.tasks[model][1], asked)


def render_text(text: str, model: str, package: Served) -> str:
    from llm_assets.prompts import render_prompt

    return render_prompt(package.tasks[model][1], text) if model in package.tasks else text


def _prompts(request: ChatRequest | CompletionRequest, package: Served) -> tuple[list[str] | None, list[list[int]]]:
    """What the user asked, as text (None: see `Reply.asked`), and the prompts as token ids."""
    model = package.model
    if isinstance(request, ChatRequest):
        text, rendered = render(request.messages, request.model, package)
        return [text], token_ids([rendered], model.tokenizer)
    given = request.prompt
    if isinstance(given, str) or isinstance(given[0], str):
        texts: list[str] = [given] if isinstance(given, str) else given  # type: ignore[assignment]
        rendered_texts = [render_text(text, request.model, package) for text in texts]
        return texts, token_ids(rendered_texts, model.tokenizer)
    ids: list[list[int]] = [given] if isinstance(given[0], int) else given  # type: ignore[assignment, list-item]
    if request.model in package.tasks:
        raise ApiError(400, f"{request.model} takes texts, not token ids", param="prompt", code="invalid_value")
    require_tokens(max(map(max, ids)), package, "prompt")
    at_once = request.echo or sum(map(len, ids)) > SHORT
    return _decoded(ids, package) if at_once else None, ids


def _decoded(prompts: list[list[int]], package: Served) -> list[str]:
    return [package.model.tokenizer.decode(tokens, skip_special_tokens=False) for tokens in prompts]


def require_tokens(largest: int, package: Served, param: str) -> None:
    if largest >= package.model.vocab:
        wrong = f"'{param}' has a token that this model lacks: they are 0 to {package.model.vocab - 1}"
        raise ApiError(400, wrong, param=param, code="invalid_value")


def _sampling(request: ChatRequest | CompletionRequest, package: Served, max_tokens: int) -> tuple[Sampling, str]:
    """How tokens are chosen, and the parameter that a constraint came from."""
    constraint, by = request.constrained()
    temperature = request.temperature
    if temperature is None:
        temperature = 0.0 if request.model in package.tasks else 1.0  # a task has one answer
    if (request.min_tokens or 0) > max_tokens:
        wrong = f"'min_tokens' is more than the {max_tokens} tokens that the reply may have"
        raise ApiError(400, wrong, param="min_tokens", code="invalid_value")
    sampling = Sampling(
        max_tokens=max_tokens,
        min_tokens=request.min_tokens or 0,
        ignore_eos=bool(request.ignore_eos),
        temperature=0.0 if request.greedy else temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=max(0, request.top_k or 0),
        min_p=request.min_p or 0.0,
        repetition_penalty=1.0 if request.repetition_penalty is None else request.repetition_penalty,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        logit_bias=request.biases(package.model.vocab),
        seed=request.seed,
        stop=request.stops(),
        logprobs=request.alternatives(),
        constraint=constraint,
    )
    return sampling, by
