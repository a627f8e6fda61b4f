"""OpenAI's reply objects, whole and in chunks, as `reply_types` tells them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from llm_assets.serving.replies import Choice, Reply
from llm_assets.serving.reply_types import ChatMessage, Usage
from llm_assets.serving.sampling import TokenLogprob
from llm_assets.serving.vocabulary import vocabulary


def usage(reply: Reply) -> Usage:
    given, made = reply.prompt_tokens, reply.completion_tokens
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def whole(reply: Reply) -> dict[str, Any]:
    """A `ChatCompletion` or a `Completion`."""
    chat = reply.kind == "chat"
    choices: list[dict[str, Any]] = []
    for index, choice in enumerate(reply.choices):
        said = {"message": _message(choice)} if chat else {"text": reply.echo(index) + choice.text}
        logprobs = Teller(reply).tell(choice.logprobs)
        choices.append({"index": index, **said, "logprobs": logprobs, "finish_reason": choice.finish})
    return _head(reply, "chat.completion" if chat else "text_completion") | {"choices": choices, "usage": usage(reply)}


def chunk(
    reply: Reply,
    index: int,
    text: str | None,
    finish: str | None = None,
    logprobs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One piece of a stream, a `ChatChunk` or a `CompletionChunk`; text None is the opening of a chat's choice."""
    if reply.kind == "chat":
        opening = {"role": "assistant", "content": ""}
        said: dict[str, Any] = {"delta": opening if text is None else {"content": text} if text else {}}
    else:
        said = {"text": text or ""}
    choice = {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}
    return _chunk_head(reply) | {"choices": [choice]}


def usage_chunk(reply: Reply) -> dict[str, Any]:
    return _chunk_head(reply) | {"choices": [], "usage": usage(reply)}


class Teller:
    """Tells log-probabilities of one choice as they come, in the shape of its route."""

    def __init__(self, reply: Reply) -> None:
        self._chat, self._count = reply.kind == "chat", reply.sampling.logprobs
        self._package, self._offset, self._as_ids = reply.package, 0, reply.tokens_as_ids
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def tell(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        """None where they were not asked for. The end token is no part of a reply's text, and left out."""
        if self._count is None:
            return None
        words = vocabulary(self._package)
        tokens = [told for told in tokens if told.token != words.eos]
        if self._chat:
            content = [
                _alternative(words.bytes(told.token), told.logprob)
                | {"top_logprobs": [_alternative(words.bytes(token), logprob) for token, logprob in told.top]}
                for told in tokens
            ]
            return {"content": content, "refusal": None}
        names, offsets = [], []
        for told in tokens:
            raw = words.bytes(told.token)
            names.append(self._named(told.token))
            offsets.append(self._offset)
            self._offset += len(self._characters.decode(raw))
        top = [{self._named(token): logprob for token, logprob in told.top} for told in tokens]
        return {
            "tokens": names,
            "token_logprobs": [told.logprob for told in tokens],
            "top_logprobs": top if self._count else None,
            "text_offset": offsets,
        }

    def _named(self, token: int) -> str:
        return f"token_id:{token}" if self._as_ids else _name(vocabulary(self._package).bytes(token))


def _alternative(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _name(raw), "logprob": logprob, "bytes": list(raw)}


def _name(raw: bytes) -> str:
    """A token's text; as OpenAI writes it where it is part of a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _message(choice: Choice) -> ChatMessage:
    return {"role": "assistant", "content": choice.text, "refusal": None}


def _chunk_head(reply: Reply) -> dict[str, Any]:
    return _head(reply, "chat.completion.chunk" if reply.kind == "chat" else "text_completion")


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": reply.id,
        "object": kind,
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": reply.package.digest,
    }
