"""Tokenizer, shapes, pre-training: what they write and what they learn."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_world import MODELS, write_documents

from llm_assets.artifacts import REPORT, read_json
from llm_assets.chat_format import render_chat
from llm_assets.errors import UserError
from llm_assets.inference import torch_setup
from llm_assets.models.architecture import chosen_shape
from llm_assets.models.config import OptimizerConfig, ShapeConfig
from llm_assets.models.llama import PackedBatches, build_llama, load_model, pack_texts, picked_loss, stream_loss
from llm_assets.models.loop import train_steps
from llm_assets.models.optimizer import make_optimizer, orthogonal, rate_at
from llm_assets.models.tokenizer import load_tokenizer, split_texts, train_tokenizer


def test_tokenizer_speaks_the_chat_format(tiny):
    tokenizer = load_tokenizer(tiny["tokenizer"])
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "rain?"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == render_chat(messages)
    assert tokenizer.eos_token == "<|end|>" and tokenizer.pad_token == "<|pad|>"
    ids = tokenizer.backend_tokenizer.encode(rendered).ids
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|system|>")
    assert tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False) == rendered


def test_any_text_survives_the_tokenizer(tiny):
    backend = load_tokenizer(tiny["tokenizer"]).backend_tokenizer
    for text in ("naïve café — 日本 🎈", "tabs\tand\nlines", ""):
        assert backend.decode(backend.encode(text).ids) == text


def test_tokenizer_learns_from_the_train_split_only(tmp_path):
    cleaned, _ = write_documents(tmp_path)
    assert len(split_texts(cleaned, "train", 200)) == 192
    with pytest.raises(UserError, match="no test rows"):
        split_texts(cleaned, "test", 200)
    out = tmp_path / "tokenizer"
    summary = train_tokenizer(cleaned, out, MODELS.tokenizer, 96)
    assert summary.metrics["round_trip_failures"] == 0
    assert 261 <= summary.metrics["vocabulary"] <= 400


def test_report_chooses_by_validation_loss(tiny):
    report = read_json(tiny["architecture"] / REPORT)
    losses = {row["shape"]["name"]: row["validation_loss"] for row in report["candidates"]}
    assert set(losses) == {"one", "two"}
    assert chosen_shape(tiny["architecture"]).name == min(losses, key=losses.get)
    assert report["tokens"] == 1000 // (8 * 32) * 8 * 32
    assert "second" not in str(report)  # speeds differ between runs, so they stay out of the artifact


def test_pretrained_model_is_a_checkpoint_that_learned(tiny):
    model, tokenizer = load_model(tiny["pretrained"]), load_tokenizer(tiny["pretrained"])
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.tie_word_embeddings and model.config.max_position_embeddings == 96
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    stream = pack_texts(tokenizer, split_texts(tiny["cleaned"], "validation", 200))
    assert stream_loss(model, stream, 32, 500) < math.log(len(tokenizer)) - 0.1


def test_stream_loss_is_the_models_own(tiny):
    model, tokenizer = load_model(tiny["pretrained"]), load_tokenizer(tiny["pretrained"])
    stream = pack_texts(tokenizer, split_texts(tiny["cleaned"], "validation", 200))[: 32 + 1]
    ids = torch.from_numpy(stream.astype("int64"))[None]
    with torch.no_grad():
        own = model(input_ids=ids, labels=ids).loss
    assert stream_loss(model, stream, 32, 32) == pytest.approx(float(own), abs=1e-5)


def test_loss_share_estimates_the_whole_loss(tiny):
    model, tokenizer = load_model(tiny["pretrained"]), load_tokenizer(tiny["pretrained"])
    stream = pack_texts(tokenizer, split_texts(tiny["cleaned"], "train", 200))

    def mean(share: float, seed: int) -> float:
        batches = PackedBatches(stream, 8, 16, 32, share, seed)
        with torch.no_grad():
            return sum(float(picked_loss(model, batches[at])) for at in range(8)) / 8

    assert mean(0.25, 1) == pytest.approx(mean(1.0, 1), abs=0.15)
    assert PackedBatches(stream, 1, 16, 32, 0.25, 1)[0]["picked"].numel() == 16 * 32 // 4


def test_muon_takes_orthogonal_steps():
    torch.manual_seed(0)
    for shape in ((48, 16), (16, 48), (32, 32)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values.min()) > 0.3 and float(values.max()) < 1.4


def test_optimizer_covers_every_weight_once(tiny):
    torch_setup(7, 1)
    model = build_llama(
        ShapeConfig.model_validate(MODELS.shapes[0].model_dump()), load_tokenizer(tiny["tokenizer"]), 96
    )
    optimizer, _ = make_optimizer(model, OptimizerConfig(), 10)
    seen = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(seen) == sorted(id(p) for p in model.parameters())
    muon = {id(p) for group in optimizer.param_groups if group["muon"] for p in group["params"]}
    assert id(model.model.embed_tokens.weight) not in muon and len(muon) == 7


def test_rate_rises_then_falls_to_zero():
    rates = [rate_at(step, 100, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates[100] == 0.0
    assert rates[:10] == sorted(rates[:10]) and rates[11:] == sorted(rates[11:], reverse=True)


def test_progress_and_curves_reach_the_end(tiny):
    torch_setup(7, 1)
    tokenizer = load_tokenizer(tiny["tokenizer"])
    stream = pack_texts(tokenizer, split_texts(tiny["cleaned"], "train", 200))
    seen = []
    curves = train_steps(
        build_llama(MODELS.shapes[0], tokenizer, 96),
        PackedBatches(stream, 4, 4, 16, 1.0, 7),
        picked_loss,
        OptimizerConfig(),
        7,
        lambda done, total, note="": seen.append((done, total)),
    )
    assert seen == [(step, 4) for step in (1, 2, 3, 4)]
    assert [step for step, _ in curves.loss] == [1.0, 2.0, 3.0, 4.0]
    assert curves.tokens == 4 * 4 * 16 and curves.tokens_per_second > 0
