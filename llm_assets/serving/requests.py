"""The requests, parameter by parameter, with their limits."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llm_assets.serving.protocol import ApiError, Closed, RequestBody
from llm_assets.serving.sampling import Constraint

MAX_STOPS, MAX_STOP_CHARS = 4, 256
MAX_BIASES = 300
MAX_LOGPROBS = 20
MAX_GRAMMAR_CHARS = 32_768
MAX_CHOICES_OF_ONE = 1000
MAX_TOKEN = 2**31 - 1
GREEDY_BELOW = 1e-5  # as in vLLM: a temperature so low is greedy, and would overflow

Choice = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, le=MAX_TOKEN)]], Field(min_length=1)]


class TextPart(Closed):
    type: Literal["text"]
    text: str


class Message(Closed):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """As `render_chat` takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Closed):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class JsonSchema(Closed):
    name: str = Field(max_length=64)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None  # it is always kept to


class ResponseFormat(Closed):
    """OpenAI's way to say what a reply must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def constraint(self) -> Constraint | None:
        if (self.json_schema is None) != (self.type != "json_schema"):
            wrong = "'json_schema' is needed with 'type': 'json_schema', and only there"
            raise ApiError(400, wrong, param="response_format", code="invalid_value")
        if self.json_schema is not None:
            return Constraint("json_schema", _json(self.json_schema.schema_))
        return _OBJECT if self.type == "json_object" else None


class StructuredOutputs(Closed):
    """vLLM's way to say what a reply must be: exactly one of these."""

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    json_object: Literal[True] | None = None
    regex: str | None = Field(None, min_length=1)
    choice: list[Choice] | None = Field(None, min_length=1, max_length=MAX_CHOICES_OF_ONE)

    def constraint(self) -> Constraint:
        if sum(given is not None for given in (self.json_, self.json_object, self.regex, self.choice)) != 1:
            wrong = "'structured_outputs' takes exactly one of json, json_object, regex and choice"
            raise ApiError(400, wrong, param="structured_outputs", code="invalid_value")
        if self.json_ is not None:
            return Constraint("json_schema", self.json_ if isinstance(self.json_, str) else _json(self.json_))
        if self.regex is not None:
            return Constraint("regex", self.regex)
        return Constraint("choice", _json(self.choice)) if self.choice is not None else _OBJECT


class Parameters(RequestBody):
    """What both routes take."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    min_tokens: int | None = Field(None, ge=0)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=MAX_TOKEN, description="0 and -1: all tokens")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(None, max_length=MAX_BIASES)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    n: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None

    @model_validator(mode="after")
    def _together(self) -> Parameters:
        if self.stream_options and not self.stream:
            raise ApiError(400, "'stream_options' needs 'stream': true", param="stream_options", code="invalid_value")
        return self

    @property
    def greedy(self) -> bool:
        return self.temperature is not None and self.temperature < GREEDY_BELOW

    def stops(self) -> tuple[str, ...]:
        found = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(found) > MAX_STOPS or any(not 1 <= len(text) <= MAX_STOP_CHARS for text in found):
            wrong = f"'stop' takes at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} characters"
            raise ApiError(400, wrong, param="stop", code="invalid_value")
        return found

    def biases(self, vocab: int) -> tuple[tuple[int, float], ...]:
        """logit_bias by token. Raises ApiError for what is no token of a vocabulary of this size."""
        found = []
        for name, added in (self.logit_bias or {}).items():
            token = int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else vocab
            if token >= vocab:
                wrong = f"'logit_bias' has a key that is no token of this model: they are 0 to {vocab - 1}"
                raise ApiError(400, wrong, param="logit_bias", code="invalid_value")
            found.append((token, float(added)))
        return tuple(sorted(dict(found).items()))

    def constrained(self) -> tuple[Constraint | None, str]:
        """What the reply must be, and the parameter that says so."""
        constraint = self.response_format.constraint() if self.response_format else None
        by = "response_format"
        if self.structured_outputs:
            if constraint:
                wrong = "'structured_outputs' and 'response_format' cannot both say what the reply is"
                raise ApiError(400, wrong, param="structured_outputs", code="invalid_value")
            constraint, by = self.structured_outputs.constraint(), "structured_outputs"
        if constraint and len(constraint.value) > MAX_GRAMMAR_CHARS:
            wrong = f"'{by}' is larger than {MAX_GRAMMAR_CHARS} characters"
            raise ApiError(400, wrong, param=by, code="invalid_value")
        for name in ("ignore_eos", "min_tokens"):
            if constraint and getattr(self, name):
                raise ApiError(400, f"'{name}' cannot be combined with '{by}'", param=name, code="invalid_value")
        return constraint, by


class ChatRequest(Parameters):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def alternatives(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "'top_logprobs' needs 'logprobs': true", param="top_logprobs", code="invalid_value")
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Parameters):
    prompt: str | Texts | TokenIds | Annotated[list[TokenIds], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    echo: bool | None = None
    return_tokens_as_token_ids: bool | None = Field(None, description="in logprobs, tokens are named token_id:NUMBER")

    def limit(self) -> int | None:
        return self.max_tokens

    def alternatives(self) -> int | None:
        if self.logprobs is not None and self.echo:
            raise ApiError(400, "'echo' cannot be combined with 'logprobs'", param="echo", code="unsupported_parameter")
        return self.logprobs


class FeedbackRequest(RequestBody):
    id: str = Field(max_length=200)
    rating: Literal["up", "down"] | None = None
    correction: str | None = Field(None, min_length=1, max_length=2000)

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.rating is None and self.correction is None:
            raise ApiError(400, "feedback needs a 'rating' (up or down) or a 'correction'", param="rating")
        return self


class TokenizeRequest(RequestBody):
    """vLLM's: either a prompt or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(None, min_length=1)
    add_special_tokens: bool = True
    return_token_strs: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ApiError(400, "give either 'prompt' or 'messages'", param="prompt", code="invalid_value")
        return self


class DetokenizeRequest(RequestBody):
    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=MAX_TOKEN)]]


_OBJECT = Constraint("json_schema", '{"type":"object"}')


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
