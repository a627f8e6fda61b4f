"""SMOTE between the embeddings of a real encoder's package, for the head that learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from document_tables import banking
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertModel, BertTokenizerFast

from llm_assets.compression.export_encoder import export_encoder
from llm_assets.data.balance.smote import smote_features
from llm_assets.inference.encoder_model import EncoderModel

COMMON, RARE = "card_arrival", "card_linking"


def encoder(texts: list[str], folder: Path) -> EncoderModel:
    """A small BERT, untrained: its embeddings tell words apart all the same."""
    words = sorted({word for text in texts for word in text.lower().replace("?", " ?").split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *(word for word in words if word != "?")]
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab=str(checkpoint / "vocab.txt")).save_pretrained(checkpoint)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(shape).eval().save_pretrained(checkpoint)
    export_encoder(checkpoint, folder / "package", "fp32", "test")
    return EncoderModel(folder / "package", threads=1)


def test_a_head_finds_more_of_the_rare_class(real_data: Path, tmp_path: Path) -> None:
    common, rare = ([text for text, label in banking(real_data) if label == name] for name in (COMMON, RARE))
    model = encoder([*common, *rare], tmp_path)

    def embedded(texts: list[str]) -> np.ndarray:
        return np.vstack([model.encode([model.cutting.encode(text).ids]).embeddings for text in texts])

    train = embedded(common[:100] + rare[:8])
    labels = [COMMON] * 100 + [RARE] * 8
    more, of = smote_features(train, labels, {COMMON: 100, RARE: 100}, neighbours=5, seed=1)
    assert more.shape == (200, model.hidden) and np.array_equal(more[:108], train)
    unseen = embedded(rare[8:60] + common[100:])

    def recall(points: np.ndarray, truth: list[str]) -> tuple[float, float]:
        said = LogisticRegression(max_iter=2000).fit(points, truth).predict(unseen)
        return float(np.mean(said[:52] == RARE)), float(np.mean(said[52:] == COMMON))

    before, after = recall(train, labels), recall(more, of.tolist())
    print("rare, common found: without", before, "with", after)
    assert after[0] > before[0] + 0.1 and sum(after) > sum(before)
