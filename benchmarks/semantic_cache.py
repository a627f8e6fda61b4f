"""Which questions the semantic cache takes for the same, by threshold, and what a look-up costs; exits with 1 when a
bar is missed.

    python benchmarks/semantic_cache.py                    # 8,000 queries of banking77, 77 intents
    python benchmarks/semantic_cache.py --queries 2000

Queries arrive in random order; one that is not answered from the cache is remembered. A hit is right when both queries
have the same intent. "hashed n-grams" and the decoder's embeddings are judged by the nearest query alone, "the cache"
is the product's, which also compares words. The decoder is a small one, pre-trained here on the queries' own text.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import text_sets
from rich.console import Console
from rich.table import Table

from llm_assets.serving.config import SemanticCacheConfig
from llm_assets.serving.replies import Choice
from llm_assets.serving.semantic_cache import SemanticCache, embed

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99)
ENTRIES = 4096
WRONG, SECONDS = 0.02, 0.001  # the bars: of the hits, at the default threshold; median of a look-up
Judged = tuple[float, float, float]  # hits of all queries, wrong ones of the hits, wrong ones of all queries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=400, help="of the decoder's pre-training; 0 leaves it out")
    chosen = parser.parse_args()
    pairs = text_sets.banking("train") + text_sets.banking("test")
    random.Random(0).shuffle(pairs)
    pairs = pairs[: chosen.queries]
    texts, intents = [text for text, _ in pairs], [intent for _, intent in pairs]
    judged = {
        "the cache": [product(texts, intents, threshold) for threshold in THRESHOLDS],
        "hashed n-grams": nearest(np.stack([embed(text) for text in texts]), intents),
    }
    if chosen.steps:
        judged |= {name: nearest(vectors, intents) for name, vectors in decoder(texts, chosen.steps).items()}
    table = Table("vectors", *(f"{threshold:g}" for threshold in THRESHOLDS), title="hits % (wrong % of them)")
    for name, row in judged.items():
        table.add_row(name, *(f"{100 * hits:.1f} ({100 * wrong:.1f})" for hits, wrong, _ in row))
    Console(width=140).print(table)
    _, wrong, _ = product(texts, intents, SemanticCacheConfig().threshold)
    seconds = look_up(texts)
    print(f"at the default threshold: {100 * wrong:.1f} % of the hits reply to another intent (bar {100 * WRONG:g} %)")
    print(f"a look-up among {ENTRIES} entries, embedding included: {1000 * seconds:.2f} ms (bar {1000 * SECONDS:g} ms)")
    return 0 if wrong <= WRONG and seconds <= SECONDS else 1


def reply(text: str, intent: str = "") -> Any:
    package, choices = SimpleNamespace(digest="digest"), [Choice(intent)]
    return SimpleNamespace(text=text, frame=(), package=package, model="model", n=1, sampling=(), choices=choices)


def product(texts: Sequence[str], intents: Sequence[str], threshold: float) -> Judged:
    cache, hits, wrong = SemanticCache(ENTRIES, threshold), 0, 0
    for text, intent in zip(texts, intents, strict=True):
        if found := cache.find(reply(text)):
            hits += 1
            wrong += found[0].text != intent
        else:
            cache.keep(reply(text, intent))
    return hits / len(texts), wrong / max(hits, 1), wrong / len(texts)


def nearest(vectors: np.ndarray, intents: Sequence[str]) -> list[Judged]:
    """Each query against those before it; vectors: float32 [queries, any] of length 1."""
    near, right = np.zeros(len(vectors) - 1), np.zeros(len(vectors) - 1, dtype=bool)
    for at in range(1, len(vectors)):
        first = max(0, at - ENTRIES)
        cosines = vectors[first:at] @ vectors[at]
        best = int(cosines.argmax())
        near[at - 1], right[at - 1] = cosines[best], intents[first + best] == intents[at]
    found = []
    for threshold in THRESHOLDS:
        hit = near >= threshold
        wrong = int((hit & ~right).sum())
        found.append((float(hit.mean()), wrong / max(int(hit.sum()), 1), wrong / len(near)))
    return found


def decoder(texts: Sequence[str], steps: int) -> dict[str, np.ndarray]:
    """Vectors from a small Llama: the mean of its token embeddings, and of its last layer's states."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from llm_assets.chat_format import SPECIAL_TOKENS
    from llm_assets.inference import torch_setup
    from llm_assets.models.config import OptimizerConfig, ShapeConfig
    from llm_assets.models.llama import PackedBatches, build_llama, pack_texts, picked_loss
    from llm_assets.models.loop import train_steps
    from llm_assets.models.tokenizer import load_tokenizer, save_tokenizer

    torch_setup(7, 2)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(backend, Path(folder), 128)
        tokenizer = load_tokenizer(Path(folder))
    shape = ShapeConfig(name="small", layers=2, hidden=128, feed_forward=256, heads=2, kv_heads=2)
    model = build_llama(shape, tokenizer, 128)
    batches = PackedBatches(pack_texts(tokenizer, texts), steps, 16, 128, 1.0, 7)
    train_steps(model, batches, picked_loss, OptimizerConfig(), 7)
    model.eval()
    tokens, states = [], []
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)[:128]])
            found = model(ids, output_hidden_states=True).hidden_states
            tokens.append(found[0][0].mean(dim=0).numpy())
            states.append(found[-1][0].mean(dim=0).numpy())
    return {"decoder, token embeddings": _unit(tokens), "decoder, last layer": _unit(states)}


def _unit(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Around their mean, as all point much the same way, and of length 1."""
    vectors = np.stack(rows)
    vectors = vectors - vectors.mean(axis=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def look_up(texts: Sequence[str]) -> float:
    """Median seconds of a look-up in a full cache."""
    cache, rest = SemanticCache(ENTRIES, SemanticCacheConfig().threshold), iter(texts)
    for at in range(ENTRIES):
        cache.keep(reply(f"{next(rest, 'more')} {at}"))
    return statistics.median(_timed(cache.find, reply(text)) for text in texts[:500])


def _timed(work: Callable[[Any], object], argument: Any) -> float:
    started = time.perf_counter()
    work(argument)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
