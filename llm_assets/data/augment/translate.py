"""Back translation (Sennrich, Haddow and Birch, ACL 2016, arXiv:1511.06709) through checkpoints of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.augment.cache import TextCache, folder_digest
from llm_assets.data.augment.config import BackTranslation
from llm_assets.errors import UserError

Translate = Callable[[Sequence[str]], list[str]]
Way = Literal["forward", "back"]


def back_translate(
    texts: Sequence[str],
    config: BackTranslation,
    cache: Path,
    progress: Progress = no_progress,
    loaded: dict[Way, Translate] | None = None,
) -> list[str]:
    """Each text in the other language and back; greedy or beam search, so equal texts and models give equal results.

    cache: the SQLite file that keeps every translation by text and models; loaded: models by way, kept from one call to
    the next. Raises UserError for a folder that is no model.
    """
    loaded = {} if loaded is None else loaded

    def there_so_far(done: float, total: float, note: str = "") -> None:
        progress(done / 2, total, note)

    def back_so_far(done: float, total: float, note: str = "") -> None:
        progress((total + done) / 2, total, note)

    there = _translated(texts, config, "forward", cache, there_so_far, loaded)
    return _translated(there, config, "back", cache, back_so_far, loaded)


def model_folder(config: BackTranslation, way: Way) -> Path:
    """The checked folder of one way ("forward" or "back")."""
    folder = Path(getattr(config, way)).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(
            f"back_translation.{way} = {str(folder)!r}: no model there; it must be the folder of a seq2seq checkpoint "
            "(config.json, model.safetensors, tokenizer) or of a CTranslate2 model (config.json, model.bin, tokenizer)"
        )
    return folder


def _translated(
    texts: Sequence[str],
    config: BackTranslation,
    way: Way,
    cache: Path,
    progress: Progress,
    loaded: dict[Way, Translate],
) -> list[str]:
    """Batches are made of all texts before the cache is asked: what a batch is does not depend on what is known."""
    folder = model_folder(config, way)
    settings = {"model": folder_digest(folder), "beams": config.beams, "max_tokens": config.max_tokens}
    asked = {"languages": _languages(config, way), "prefix": _prefix(config, way)}
    settings |= {name: value for name, value in asked.items() if value}
    known = TextCache(cache, settings)
    found: dict[str, str] = {}
    order = sorted(set(texts), key=lambda text: (len(text), text))
    try:
        for start in range(0, len(order), config.batch_size):
            batch = order[start : start + config.batch_size]
            values = known.get(batch)
            if any(value is None for value in values):
                if way not in loaded:
                    loaded[way] = load_translator(config, way)
                values = [*loaded[way](batch)]
                known.put(batch, [value or "" for value in values])
            found |= {text: value or "" for text, value in zip(batch, values, strict=True)}
            progress(start + len(batch), len(order), f"back translation, {way}")
    finally:
        known.close()
    return [found[text] for text in texts]


def load_translator(config: BackTranslation, way: Way) -> Translate:
    """A function that translates a batch; the kind of model is told by its `config.json`."""
    folder = model_folder(config, way)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (folder / "model.bin").is_file() and "architectures" not in settings:
        return _ctranslate2(folder, config, way)
    return _transformers(folder, config, way)


def _languages(config: BackTranslation, way: Way) -> list[str]:
    """[language of what is translated, language it becomes], or nothing."""
    named = list(config.languages or ())
    return named if way == "forward" else named[::-1]


def _prefix(config: BackTranslation, way: Way) -> str:
    return config.prefixes[way == "back"] if config.prefixes else ""


def _transformers(folder: Path, config: BackTranslation, way: Way) -> Translate:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    from llm_assets.inference.quiet import quiet

    tokenizer, target = _tokenizer(folder, _languages(config, way))
    prefix = _prefix(config, way)
    first = {} if target is None else {"forced_bos_token_id": target}
    try:
        with quiet():
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype="float32").eval()
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no seq2seq checkpoint that can be loaded: {error}") from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 0) or config.max_tokens

    def translate(texts: Sequence[str]) -> list[str]:
        said = [prefix + text for text in texts]
        batch = tokenizer(said, return_tensors="pt", padding=True, truncation=True, max_length=limit).to(device)
        with torch.inference_mode(), quiet():
            ids = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=min(config.max_tokens, limit - 1),
                num_beams=config.beams,
                do_sample=False,
                **first,
            )
        return _decoded(tokenizer, ids.tolist(), target)

    return translate


def _ctranslate2(folder: Path, config: BackTranslation, way: Way) -> Translate:
    try:
        import ctranslate2
    except ImportError:
        raise UserError(f"{folder} is a CTranslate2 model: pip install 'llm-assets[ctranslate2]'") from None
    tokenizer, target = _tokenizer(folder, _languages(config, way))
    prefix, first = _prefix(config, way), None if target is None else tokenizer.convert_ids_to_tokens([target])
    device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    translator = ctranslate2.Translator(str(folder), device=device)

    def translate(texts: Sequence[str]) -> list[str]:
        sources = [tokenizer.convert_ids_to_tokens(tokenizer(prefix + text)["input_ids"]) for text in texts]
        results = translator.translate_batch(
            sources,
            target_prefix=first and [first] * len(sources),
            beam_size=config.beams,
            max_decoding_length=config.max_tokens,
            max_batch_size=config.batch_size,
        )
        ids = [tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]
        return _decoded(tokenizer, ids, target)

    return translate


def _decoded(tokenizer: Any, rows: Sequence[Sequence[int]], target: int | None) -> list[str]:
    """Texts of token ids, without the one that asked for the language: not every tokenizer takes it for special."""
    own = [[number for number in row if number != target] for row in rows]
    return [text.strip() for text in tokenizer.batch_decode(own, skip_special_tokens=True)]


def _tokenizer(folder: Path, languages: Sequence[str]) -> tuple[Any, int | None]:
    """(the tokenizer, set to the first of two languages; the token that asks for the second)."""
    from importlib.util import find_spec

    from transformers import AutoTokenizer

    from llm_assets.inference.quiet import quiet

    pieces = not (folder / "tokenizer.json").is_file() and [*folder.glob("*.spm"), *folder.glob("*.model")]
    if pieces and find_spec("sentencepiece") is None:
        raise UserError(f"{folder}: its tokenizer is SentencePiece's: pip install 'llm-assets[sentencepiece]'")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{folder}: its tokenizer cannot be loaded: {error}") from None
    if not languages:
        return tokenizer, None
    known = getattr(tokenizer, "lang_code_to_token", {})  # M2M100 writes `__de__` for de
    tokens = [known.get(language, language) for language in languages]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    for language, number in zip(languages, ids, strict=True):
        if number in (None, tokenizer.unk_token_id):
            raise UserError(f"back_translation.languages: {folder} knows no language {language!r}")
    tokenizer.src_lang = languages[0]
    return tokenizer, int(ids[1])
