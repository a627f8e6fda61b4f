"""What requests and errors look like: closed models, parameters refused by name, OpenAI's error shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from starlette.requests import Request

# Parameters of OpenAI's and vLLM's interfaces that this server does not carry out, with the values that ask for
# nothing. Any other value is refused by name: a parameter is never dropped silently.
INERT: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "allowed_token_ids": (),
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "function_call": ("none",),
    "functions": ([],),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "priority": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "prompt_logprobs": (),
    "reasoning_effort": (),
    "service_tier": ("auto", "default"),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "truncate_prompt_tokens": (),  # but of texts to embed or classify
    "use_beam_search": (False,),
    "verbosity": (),
    "web_search_options": (),
}
MAX_SHOWN = 200  # characters of a client's own text in a message
JSON = "application/json"


class ErrorDetail(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """Every reply that is not a success."""

    error: ErrorDetail


@dataclass
class ApiError(Exception):
    """What the client is told, as `{"error": {message, type, param, code}}` with `status`."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> ErrorBody:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class Closed(BaseModel):
    """A part of a request: no field but these, no value turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class RequestBody(Closed):
    """A request. null is a parameter that is not given; one that this server lacks raises ApiError unless its value
    asks for nothing."""

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept: dict[str, Any] = {}
        for name, given in value.items():
            if given is None:
                continue
            if name in cls.model_fields or name not in INERT:
                kept[name] = given
            elif not any(
                given == inert and isinstance(given, bool) == isinstance(inert, bool) for inert in INERT[name]
            ):
                instead = "; use 'structured_outputs'" if name.startswith("guided_") else ""
                message = f"'{name}' is not supported by this server{instead}"
                raise ApiError(400, message, param=name, code="unsupported_parameter")
        return kept


Body = TypeVar("Body", bound=RequestBody)


async def body_of(request: Request, shape: type[Body]) -> Body:
    """The request's body; ApiError 400 where it is none. FastAPI's own way takes a sixth of a known reply's time."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        return shape.model_validate_json(body if kind == JSON or kind.endswith("+json") else b"null")
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None


def invalid(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Pydantic's errors about a request's body as one ApiError 400, which names the parameter."""
    first = errors[0]
    kind, where = first["type"], [part for part in first["loc"] if part not in ("body", "query")]
    if kind == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    if not where or not isinstance(where[0], str):
        return ApiError(400, "the body must be a JSON object, sent as application/json", code="invalid_json")
    # Pydantic names the type it tried, too, where there are several: that is no part of the parameter's name.
    path = ".".join(shown(part) for at, part in enumerate(where) if at == 0 or _names(part))
    if kind == "extra_forbidden":
        return ApiError(400, f"unknown parameter: '{path}'", param=path, code="unknown_parameter")
    if kind == "missing":
        return ApiError(400, f"missing required parameter: '{path}'", param=path, code="missing_required_parameter")
    return ApiError(400, f"'{path}': {first['msg']}", param=path, code="invalid_value")


def shown(value: object) -> str:
    """A client's own text as a message may have it: short, and without what no text may hold."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _names(part: object) -> bool:
    types = ("str", "int", "bool", "float", "dict", "list", "TextPart", "function", "constrained")
    return isinstance(part, int) or not str(part).startswith(types)


def json_text(value: object) -> str:
    """`value` as one line of JSON, whatever characters its texts hold."""
    return json.dumps(value, separators=(",", ":"))
