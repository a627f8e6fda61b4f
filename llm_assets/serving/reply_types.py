"""The replies of models, whole and in chunks, as /openapi.json tells them: OpenAI's, and vLLM's of classifications."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

REFERENCE = "#/components/schemas/"
Finish = Literal["stop", "length"]


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    content: list[ChatLogprob]
    refusal: None


class CompletionLogprobs(TypedDict):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class ChatMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(TypedDict):
    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class CompletionChoice(TypedDict):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish


class _Head(TypedDict):
    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(_Head):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class Completion(_Head):
    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: Usage


class Delta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str


class ChatChunkChoice(TypedDict):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None


class CompletionChunkChoice(TypedDict):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None


class _Chunk(_Head):
    """usage: there where it was asked for, and not null at the end."""

    usage: NotRequired[Usage | None]


class ChatChunk(_Chunk):
    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]


class CompletionChunk(_Chunk):
    object: Literal["text_completion"]
    choices: list[CompletionChunkChoice]


class Embedding(TypedDict):
    """embedding: a text where base64 was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class TextsUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class _Results(TypedDict):
    object: Literal["list"]
    model: str
    system_fingerprint: str


class Embeddings(_Results):
    data: list[Embedding]
    usage: TextsUsage


class Class(TypedDict):
    index: int
    label: str
    probs: list[float]
    num_classes: int


class Classes(_Results):
    id: str
    created: int
    data: list[Class]
    usage: Usage


def event(chunk: type) -> dict[str, Any]:
    """The schema of one event of a stream: a chunk, the end, or what went wrong instead."""
    told = {"anyOf": [{"$ref": REFERENCE + name} for name in (chunk.__name__, "ErrorBody")]}
    written = {"contentMediaType": "application/json", "contentSchema": told}
    data = {"type": "string", "anyOf": [{"const": "[DONE]"}, written]}
    return {"type": "object", "properties": {"data": data}, "required": ["data"]}


def chunk_schemas() -> dict[str, Any]:
    """The chunks and their parts by name. FastAPI gathers the types of whole replies only."""
    chunks: tuple[type, ...] = ChatChunk, CompletionChunk
    _, found = TypeAdapter.json_schemas(
        [(chunk, "serialization", TypeAdapter(chunk)) for chunk in chunks], ref_template=REFERENCE + "{model}"
    )
    return dict(found["$defs"])
