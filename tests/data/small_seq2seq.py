"""Seq2seq checkpoints of other families, each as the hub has them, taught to exchange words for others and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

Pairs = Sequence[tuple[str, str]]
WORDS = {
    "a": "ein", "red": "rot", "small": "klein", "wet": "nass", "dog": "hund", "man": "mann", "child": "kind",
    "sleeps": "ruht", "runs": "rennt", "in": "im", "the": "dem", "park": "garten",
}  # fmt: skip
PREFIXES = ("translate English to German: ", "translate German to English: ")
WIDTH = 48


def other_words(text: str) -> str:
    return " ".join(WORDS[word] for word in text.split())


def marian(pairs: Pairs, folder: Path) -> tuple[Path, Path]:
    """Two folders, each with `source.spm`, `target.spm` and one vocabulary."""
    made = []
    for name, way in (("forward", pairs), ("back", [(other, one) for one, other in pairs])):
        out = folder / name
        out.mkdir()
        sides = [
            _pieces([pair[side] for pair in way], out / f"{file}.spm") for side, file in enumerate(("source", "target"))
        ]
        known = ["</s>", "<unk>", *sorted({piece for side in sides for piece in side} - {"</s>", "<unk>"}), "<pad>"]
        (out / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(known)}))
        tokenizer = MarianTokenizer(*(str(out / file) for file in ("source.spm", "target.spm", "vocab.json")))
        pad = len(known) - 1
        model = MarianMTModel(MarianConfig(
            vocab_size=len(known), pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad,
            forced_eos_token_id=None, **_shape(),
        ))  # fmt: skip
        _learn(model, [_example(tokenizer, one, other) for one, other in way], out, tokenizer)
        made.append(out)
    return made[0], made[1]


def t5(pairs: Pairs, folder: Path) -> tuple[Path, Path]:
    """One folder for both ways: a prefix says which."""
    from tokenizers import processors

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_bpe([*(text for pair in pairs for text in pair), *PREFIXES], ["<pad>", "</s>", "<unk>"]),
        pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    model = T5ForConditionalGeneration(T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=16, d_ff=2 * WIDTH, num_layers=2, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    ))  # fmt: skip
    examples = [_example(tokenizer, PREFIXES[0] + one, other) for one, other in pairs]
    examples += [_example(tokenizer, PREFIXES[1] + other, one) for one, other in pairs]
    _learn(model, examples, folder, tokenizer)
    return folder, folder


def nllb(pairs: Pairs, folder: Path) -> tuple[Path, Path]:
    """One folder for both ways, whose tokenizer has a file of its own; languages eng_Latn and deu_Latn."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    learned = json.loads(_bpe([text for pair in pairs for text in pair], special).to_str())["model"]
    tokenizer = NllbTokenizer(
        vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]],
        additional_special_tokens=["eng_Latn", "deu_Latn"],
    )  # fmt: skip
    return _many_languages(pairs, folder, tokenizer, "eng_Latn", "deu_Latn")


def m2m100(pairs: Pairs, folder: Path) -> tuple[Path, Path]:
    """One folder for both ways, with SentencePiece's model; languages en and de."""
    own = folder / "pieces"
    own.mkdir()
    pieces = _pieces([text for pair in pairs for text in pair], own / "sentencepiece.bpe.model")
    known = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>"))]
    (own / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(known)}))
    tokenizer = M2M100Tokenizer(str(own / "vocab.json"), str(own / "sentencepiece.bpe.model"))
    return _many_languages(pairs, folder, tokenizer, "en", "de")


FAMILIES: dict[str, tuple[Callable[[Pairs, Path], tuple[Path, Path]], dict[str, Any]]] = {
    "marian": (marian, {}),
    "t5": (t5, {"prefixes": PREFIXES}),
    "nllb": (nllb, {"languages": ("eng_Latn", "deu_Latn")}),
    "m2m100": (m2m100, {"languages": ("en", "de")}),
}


def _many_languages(pairs: Pairs, folder: Path, tokenizer: Any, one: str, other: str) -> tuple[Path, Path]:
    size = 1 + max(len(tokenizer), *tokenizer.convert_tokens_to_ids([one, other, f"__{one}__", f"__{other}__"]))
    model = M2M100ForConditionalGeneration(M2M100Config(
        vocab_size=size, pad_token_id=1, eos_token_id=2, bos_token_id=0, decoder_start_token_id=2,
        forced_eos_token_id=None, encoder_layerdrop=0.0, decoder_layerdrop=0.0, **_shape(),
    ))  # fmt: skip
    examples = []
    for source, target, way in ((one, other, pairs), (other, one, [(b, a) for a, b in pairs])):
        tokenizer.src_lang, tokenizer.tgt_lang = source, target
        examples += [_example(tokenizer, first, second) for first, second in way]
    tokenizer.src_lang = one
    _learn(model, examples, folder, tokenizer)
    return folder, folder


def _shape() -> dict[str, Any]:
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 2 * WIDTH))
    }
    rest = {"scale_embedding": True, "init_std": WIDTH**-0.5, "dropout": 0.0, "attention_dropout": 0.0}
    return {"d_model": WIDTH, "max_position_embeddings": 64, **rest, **sides}


def _pieces(texts: Sequence[str], path: Path) -> list[str]:
    """Write a SentencePiece model of `texts`; its pieces."""
    import sentencepiece

    with path.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=stream, model_type="bpe", vocab_size=150,
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    found = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [found.id_to_piece(number) for number in range(found.get_piece_size())]


def _bpe(texts: Sequence[str], special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False))
    return made


def _example(tokenizer: Any, source: str, target: str) -> tuple[list[int], list[int]]:
    return tokenizer(source)["input_ids"], tokenizer(text_target=target)["input_ids"]


def _learn(
    model: Any, examples: list[tuple[list[int], list[int]]], folder: Path, tokenizer: Any, steps: int = 300
) -> None:
    """All examples at each step, until it knows them; then both are saved."""
    from torch.nn.utils.rnn import pad_sequence

    pad = int(model.config.pad_token_id)
    source, target = (
        pad_sequence([torch.tensor(one[side]) for one in examples], batch_first=True, padding_value=pad)
        for side in (0, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(steps):
        labels = target.masked_fill(target == pad, -100)
        loss = model(input_ids=source, attention_mask=(source != pad).long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1, loss.item()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
