"""/v1/embeddings in OpenAI's format and /v1/classify in vLLM's: what a request may hold, and what is answered."""

from __future__ import annotations

import base64
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from llm_assets.serving.package import ROUTE, ServedEncoder
from llm_assets.serving.protocol import ApiError, RequestBody
from llm_assets.serving.vocabulary import token_ids

if TYPE_CHECKING:
    from llm_assets.inference.encoder_model import Encoded, EncoderModel

Text = Annotated[str, Field(min_length=1)]
Ids = Annotated[list[int], Field(min_length=1)]
Input = Text | Annotated[list[Text], Field(min_length=1)] | Ids | Annotated[list[Ids], Field(min_length=1)]
INPUT = "'input' takes a text, a list of texts, a list of token ids, or a list of such lists; none of them empty"


class EncoderRequest(RequestBody):
    model: str
    input: Input
    truncate_prompt_tokens: Literal[-1] | None = Field(None, description="-1: as much of a text as the model reads")
    user: str | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _one_kind(cls, given: Any) -> Any:
        parts = given if isinstance(given, list) else [given]
        kinds = {type(part) for part in parts}
        tokens = {type(token) for part in parts if isinstance(part, list) for token in part}
        empty = any(part in ("", []) for part in parts)
        if (
            empty
            or kinds not in ({str}, {int}, {list})
            or not tokens <= {int}
            or (kinds == {int} and given is parts[0])
        ):
            raise ApiError(400, INPUT, param="input", code="invalid_value")
        return given


class ClassifyRequest(EncoderRequest):
    pass


class EmbeddingRequest(EncoderRequest):
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


@dataclass
class Encoding:
    """One request on its way: `texts` are token ids, `asked` what the traffic log keeps of it."""

    kind: Literal["embd", "classify"]
    model: str
    package: ServedEncoder
    asked: str
    texts: list[list[int]]
    started: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = ""
    answer: str = ""

    def __post_init__(self) -> None:
        self.id = f"{self.kind}-{uuid.uuid4().hex}"

    @property
    def tokens(self) -> int:
        return sum(map(len, self.texts))

    @property
    def task(self) -> str | None:
        """The classification of one text is what people's feedback can be about."""
        return ROUTE if self.kind == "classify" and len(self.texts) == 1 else None

    def note(self, found: Encoded) -> None:
        """Keep what the traffic log keeps of the results: the classes, a line a text."""
        if self.kind == "classify":
            self.answer = "\n".join(self._chosen(found))

    def embeddings(self, found: Encoded, base64_wanted: bool) -> dict[str, Any]:
        """OpenAI's reply, `Embeddings` with arrays as they are. base64: of little-endian float32."""
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") if base64_wanted else row,
            }
            for index, row in enumerate(found.embeddings)
        ]
        return self._reply(data) | {"usage": {"prompt_tokens": self.tokens, "total_tokens": self.tokens}}

    def classes(self, found: Encoded) -> dict[str, Any]:
        """vLLM's reply, `Classes` with arrays as they are; the label is that of the largest probability."""
        assert found.probabilities is not None
        labels = self.package.model.labels
        data = [
            {"index": index, "label": label, "probs": row, "num_classes": len(labels)}
            for index, (label, row) in enumerate(zip(self._chosen(found), found.probabilities, strict=True))
        ]
        usage = {"prompt_tokens": self.tokens, "total_tokens": self.tokens, "completion_tokens": 0}
        return {"id": self.id, "created": self.created} | self._reply(data) | {"usage": usage}

    def _chosen(self, found: Encoded) -> list[str]:
        assert found.probabilities is not None
        return [self.package.model.labels[at] for at in found.probabilities.argmax(axis=1)]

    def _reply(self, data: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "list", "model": self.model, "data": data, "system_fingerprint": self.package.digest}


def prepare_encoding(request: EmbeddingRequest | ClassifyRequest, package: ServedEncoder, most: int) -> Encoding:
    """Tokenise, and check against the model and the limits; ApiError for what they do not allow."""
    model = package.model
    if request.model not in package.names:
        raise ApiError(
            404,
            f"model {request.model!r} does not exist; this server has {', '.join(package.names)}",
            param="model",
            code="model_not_found",
        )
    if isinstance(request, ClassifyRequest) and not model.labels:
        wrong = f"model {request.model!r} has no classes: it takes /v1/embeddings"
        raise ApiError(400, wrong, param="model", code="model_not_supported")
    if isinstance(request, EmbeddingRequest) and request.dimensions not in (None, model.hidden):
        wrong = f"'dimensions': {request.model!r} gives {model.hidden}, and was not trained to be cut"
        raise ApiError(400, wrong, param="dimensions", code="unsupported_parameter")
    given = _listed(request.input)
    if len(given) > most:
        raise ApiError(400, f"'input' has {len(given)} texts; at most {most} are taken", param="input")
    texts = _token_ids(given, model, cut=request.truncate_prompt_tokens is not None)
    if any(not 0 <= token < model.vocab for ids in texts for token in ids):
        raise ApiError(400, f"'input': token ids are 0 to {model.vocab - 1}", param="input", code="invalid_value")
    longest = max(map(len, texts))
    if longest > model.context:
        raise ApiError(
            400,
            f"a text has {longest} tokens; {request.model!r} reads at most {model.context}",
            param="input",
            code="context_length_exceeded",
        )
    asked = "\n".join(one if isinstance(one, str) else model.tokenizer.decode(one) for one in given)
    return Encoding(
        "classify" if isinstance(request, ClassifyRequest) else "embd", request.model, package, asked, texts
    )


def _token_ids(given: list[str] | list[list[int]], model: EncoderModel, cut: bool) -> list[list[int]]:
    """Texts as token ids. cut: to what the model reads; the special tokens at a text's end stay there."""
    texts = [one for one in given if isinstance(one, str)]
    if texts:
        return token_ids(texts, model.cutting if cut else model.tokenizer)
    return [one for one in given if not isinstance(one, str)]


def _listed(given: Input) -> list[str] | list[list[int]]:
    """As a list of texts, or of lists of token ids."""
    if isinstance(given, str):
        return [given]
    return [given] if isinstance(given[0], int) else given  # type: ignore[return-value,list-item]
