"""/tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI, Request
from typing_extensions import TypedDict

from llm_assets.serving.clients import off_the_loop
from llm_assets.serving.document import takes
from llm_assets.serving.package import RAW_MODEL
from llm_assets.serving.protocol import body_of
from llm_assets.serving.replies import render, render_text, require_model, require_tokens
from llm_assets.serving.requests import DetokenizeRequest, TokenizeRequest
from llm_assets.serving.service import Service


class Tokens(TypedDict):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Text(TypedDict):
    prompt: str


def add(app: FastAPI, service: Service) -> None:
    @app.post("/tokenize", openapi_extra=takes(TokenizeRequest))
    async def tokenize(request: Request) -> Tokens:
        """The tokens that a completion of this prompt, or these messages, would be given."""
        asked = await body_of(request, TokenizeRequest)
        served = service.served()
        model = asked.model or RAW_MODEL
        require_model(model, served)
        if asked.messages is not None:
            text = render(asked.messages, model, served)[1]
        else:
            text = render_text(asked.prompt or "", model, served)
        encode = partial(served.model.tokenizer.encode_batch, [text], add_special_tokens=asked.add_special_tokens)
        [encoded] = await off_the_loop(request, encode)
        return {
            "count": len(encoded.ids),
            "max_model_len": served.model.context,
            "tokens": encoded.ids,
            "token_strs": encoded.tokens if asked.return_token_strs else None,
        }

    @app.post("/detokenize", openapi_extra=takes(DetokenizeRequest))
    async def detokenize(request: Request) -> Text:
        asked = await body_of(request, DetokenizeRequest)
        served = service.served()
        require_model(asked.model or RAW_MODEL, served)
        require_tokens(max(asked.tokens, default=0), served, "tokens")
        return {"prompt": served.model.tokenizer.decode(asked.tokens, skip_special_tokens=False)}
