"""OpenAI's request and error formats: what is supported, what is refused, and by which name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_STOPS = 4
T = TypeVar("T", bound=BaseModel)

# Parameters of OpenAI's interface that this server does not carry out, with the values that ask for nothing.
# Any other value is refused by name: a parameter is never dropped silently.
INERT: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}


@dataclass
class ApiError(Exception):
    """What the client is told, as `{"error": {message, type, param, code}}` with `status`."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Closed):
    type: Literal["text"]
    text: str


class Message(_Closed):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """As `render_chat` takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Closed):
    include_usage: bool = False
    include_obfuscation: bool = False


class Parameters(_Closed):
    """What both routes take."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None

    def stops(self) -> tuple[str, ...]:
        found = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(found) > MAX_STOPS or "" in found:
            raise ApiError(400, f"'stop' takes 1 to {MAX_STOPS} texts, none of them empty", param="stop")
        return found


class ChatRequest(Parameters):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Parameters):
    prompt: str | list[str]

    def limit(self) -> int | None:
        return self.max_tokens


class FeedbackRequest(_Closed):
    id: str
    rating: Literal["up", "down"] | None = None
    correction: str | None = Field(None, min_length=1, max_length=2000)


def parse_chat(body: bytes) -> ChatRequest:
    return validate(ChatRequest, _supported(json_object(body)))


def parse_completion(body: bytes) -> CompletionRequest:
    return validate(CompletionRequest, _supported(json_object(body)))


def parse_feedback(body: bytes) -> FeedbackRequest:
    feedback = validate(FeedbackRequest, json_object(body))
    if feedback.rating is None and feedback.correction is None:
        raise ApiError(400, "feedback needs a 'rating' (up or down) or a 'correction'", param="rating")
    return feedback


def json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return value


def _supported(value: dict[str, Any]) -> dict[str, Any]:
    """`value` without parameters that ask for nothing. Raises ApiError for one that this server lacks."""
    kept: dict[str, Any] = {}
    for name, given in value.items():
        if given is None:
            continue
        if name not in INERT:
            kept[name] = given
        elif not any(given == inert and isinstance(given, bool) == isinstance(inert, bool) for inert in INERT[name]):
            raise ApiError(400, f"'{name}' is not supported by this server", param=name, code="unsupported_parameter")
    return kept


def validate(model: type[T], value: dict[str, Any]) -> T:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("str", "list[", "Text")))
        if first["type"] == "extra_forbidden":
            raise ApiError(400, f"unknown parameter: '{path}'", param=path, code="unknown_parameter") from None
        if first["type"] == "missing":
            raise ApiError(
                400, f"missing required parameter: '{path}'", param=path, code="missing_required_parameter"
            ) from None
        raise ApiError(400, f"'{path}': {first['msg']}", param=path, code="invalid_value") from None
