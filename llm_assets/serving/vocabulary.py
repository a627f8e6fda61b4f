"""A model's vocabulary: texts as its tokens, what each token adds to a text, and what grammars are matched over."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from tokenizers import Tokenizer

    from llm_assets.serving.package import Served


def token_ids(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """As a batch, whatever their number: only then does the tokenizer let other threads go on, which compute, answer
    and refuse."""
    return [encoded.ids for encoded in tokenizer.encode_batch_fast(texts)]


class Vocabulary:
    """grammar_tokens: llguidance's view, None where it cannot read this kind of tokenizer. size: width of the logits,
    or the tokenizer's size where that is larger."""

    def __init__(self, package: Served) -> None:
        from llguidance import LLTokenizer

        self.tokenizer, self.eos = package.model.tokenizer, package.model.eos
        self.size = max(package.model.vocab, self.tokenizer.get_vocab_size())
        self.grammar_tokens: LLTokenizer | None = None
        try:
            self.grammar_tokens = LLTokenizer(self.tokenizer.to_str(), n_vocab=self.size, eos_token=self.eos)
        except ValueError as error:
            self.unreadable = str(error)

    def bytes(self, token: int) -> bytes:
        """What `token` adds to a text: part of a character, maybe. A special token's name is its text."""
        name = self.tokenizer.id_to_token(token)
        if name is None or self.grammar_tokens is None or self.grammar_tokens.is_special_token(token):
            return (name or "").encode()
        return bytes(self.grammar_tokens.decode_bytes([token]))


_known: WeakKeyDictionary[Served, Vocabulary] = WeakKeyDictionary()


def vocabulary(package: Served) -> Vocabulary:
    """Made once a package, in tens of milliseconds or, for 100,000 tokens and more, up to a second."""
    if package not in _known:
        _known[package] = Vocabulary(package)
    return _known[package]
