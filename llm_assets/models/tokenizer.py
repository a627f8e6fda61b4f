"""A byte-level BPE tokenizer, trained on the train split's texts and labels.

Labels count as text, once a row: they become one token or few, which makes a routing answer quick to train (only
answer tokens meet the LM head) and quick to decode.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table
from llm_assets.chat_format import CHAT_TEMPLATE, END, PAD, SPECIAL_TOKENS, strip_special
from llm_assets.errors import UserError
from llm_assets.models.config import TokenizerConfig
from llm_assets.prompts.templates import cut_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def split_texts(documents: Path, split: str, max_chars: int) -> list[str]:
    """The texts of one split of a documents artifact, cut at a word, in row order. UserError if there are none."""
    table = read_table(documents / DOCUMENTS, columns=["text", "split"])
    rows = zip(table["text"].to_pylist(), table["split"].to_pylist(), strict=True)
    texts = [strip_special(cut_text(text, max_chars)) for text, where in rows if where == split and text]
    if not texts:
        raise UserError(f"cleaned_documents has no {split} rows with text; see its rejected rows and the split shares")
    return texts


def split_labels(documents: Path, split: str) -> list[str]:
    """The labels of one split, one a labelled row, in row order; none where nothing is labelled."""
    table = read_table(documents / DOCUMENTS, columns=["label", "split"])
    rows = zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
    return [strip_special(label) for label, where in rows if where == split and label]


def train_tokenizer(
    documents: Path, out: Path, config: TokenizerConfig, context: int, progress: Progress = no_progress
) -> Summary:
    """Write `out` as a tokenizer folder that `AutoTokenizer` reads, chat template included."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = split_texts(documents, "train", config.max_chars)
    labels = split_labels(documents, "train")
    progress(0, 2, f"{len(texts)} texts")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        [*texts, *labels],
        trainers.BpeTrainer(
            vocab_size=config.vocab_size,
            min_frequency=config.min_frequency,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
        length=len(texts) + len(labels),
    )
    progress(1, 2, "measuring")
    save_tokenizer(backend, out, context)
    return _summary(load_tokenizer(out), split_texts(documents, "validation", config.max_chars)[:1000])


def save_tokenizer(backend: Any, out: Path, context: int) -> None:
    """Wrap a `tokenizers.Tokenizer` with our special tokens and chat template, and write it to `out`."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (END, PAD)],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(out)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def _summary(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Summary:
    """Compression and round trip on validation text."""
    backend = tokenizer.backend_tokenizer
    encoded = [item.ids for item in backend.encode_batch(texts)]
    tokens, words = sum(map(len, encoded)), sum(len(text.split()) for text in texts)
    failures = sum(backend.decode(ids) != text for ids, text in zip(encoded, texts, strict=True))
    lengths = sorted(map(len, encoded))
    return Summary(
        metrics={
            "vocabulary": len(tokenizer),
            "special_tokens": sum(tokenizer.convert_tokens_to_ids(token) is not None for token in SPECIAL_TOKENS),
            "round_trip_failures": failures,
            "chars_per_token": round(sum(map(len, texts)) / max(1, tokens), 3),
            "tokens_per_word": round(tokens / max(1, words), 3),
            "median_tokens": lengths[len(lengths) // 2],
        },
        samples=[
            {"text": text[:120], "tokens": " · ".join(backend.decode([i]) for i in ids[:24])}
            for text, ids in list(zip(texts, encoded, strict=True))[:6]
        ],
        note="Trained on the train split only; measured on validation text.",
    )
