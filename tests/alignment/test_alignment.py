"""Pairs, reward model and DPO on a real tiny model, through TRL."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llm_assets.alignment.config import DpoConfig, PairsConfig, RewardConfig
from llm_assets.alignment.dpo import align, mean_kl, step_back
from llm_assets.alignment.examples import base_templates, sample_examples, split_rows
from llm_assets.alignment.overlap import rouge_l, token_f1
from llm_assets.alignment.pairs import CHAT, FEEDBACK, feedback_digest, make_pairs, reject
from llm_assets.alignment.reward import load_reward_model, score, train_reward_model
from llm_assets.artifacts import PAIRS, pair_schema, read_table
from llm_assets.errors import UserError
from llm_assets.models.llama import load_model
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.serving.feedback import accept_votes
from llm_assets.serving.labels import add_pairs, add_vote, make_pair
from llm_assets.training.instructions import Example

CONFIG = PairsConfig(
    train_prompts={"route": 48, "summarise": 12}, validation_prompts={"route": 20, "summarise": 4}, max_new_tokens=16
)


@pytest.fixture(scope="module")
def templates(tiny_inputs):
    return base_templates(tiny_inputs / "prompts")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A state folder with a pair that a person chose by hand, and two of the labelling page."""
    folder = tmp_path_factory.mktemp("home")
    (folder / FEEDBACK[0]).parent.mkdir()
    pair = {"id": "p1", "task": "route", "text": "Join two columns.", "chosen": "tables", "rejected": "web"}
    (folder / FEEDBACK[0]).write_text(json.dumps(pair) + "\n")
    compared = [make_pair(task, "Serve a page.", ("tables", "web"), "posted") for task in ("route", CHAT)]
    add_pairs(folder, compared)
    for one in compared:
        add_vote(folder, one, "ada", "b")
    assert accept_votes(folder).path == folder / FEEDBACK[1]
    return folder


@pytest.fixture(scope="module")
def pairs(tiny_checkpoint, tiny_inputs, templates, home, tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs")
    summary = make_pairs(tiny_checkpoint, tiny_inputs / "documents", templates, home, out, CONFIG, 7, 1)
    return out, summary


@pytest.fixture(scope="module")
def reward(tiny_checkpoint, pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("reward")
    config = RewardConfig(epochs=4, batch_size=16, learning_rate=3e-3)
    return out, train_reward_model(tiny_checkpoint, pairs[0], out, config, 7, 1)


def test_pairs_prefer_the_reference_and_keep_splits_apart(pairs, tiny_inputs):
    table = read_table(pairs[0] / PAIRS)
    assert table.schema.equals(pair_schema())
    split_of = {}
    for split in ("train", "validation"):
        split_of |= dict.fromkeys(split_rows(tiny_inputs / "documents", split)["id"].to_pylist(), split)
    rows = table.to_pylist()
    assert {row["origin"] for row in rows} == {"bootstrap", "feedback"}
    for row in rows:
        assert row["chosen"] != row["rejected"]
        assert row["prompt"].endswith("<|assistant|>")
        if row["origin"] == "bootstrap":
            assert split_of[row["document_id"]] == row["split"]
    assert pairs[1].metrics["feedback_pairs"] == 3
    voted = [row for row in rows if row["chosen"] == "web" and row["rejected"] == "tables" and "Serve" in row["prompt"]]
    assert {row["task"] for row in voted if row["origin"] == "feedback"} == {"route", CHAT}


def test_equal_seeds_sample_equal_pairs(pairs, tiny_checkpoint, tiny_inputs, templates, home, tmp_path):
    make_pairs(tiny_checkpoint, tiny_inputs / "documents", templates, home, tmp_path, CONFIG, 7, 1)
    assert (tmp_path / PAIRS).read_bytes() == (pairs[0] / PAIRS).read_bytes()


def test_rejected_is_the_models_own_mistake_where_it_made_one():
    def route(answer):
        return Example("p", answer, "route", 1.0, answer)

    examples = [route("web"), route("web"), route("arrays"), Example("p", "Join two rows.", "summarise", 1.0, "s")]
    samples = [["web", "tables", "tables"], ["web"] * 3, ["arrays"] * 3, ["Join two rows.", "Rows.", "Two rows."]]
    rejected = reject(examples, samples)
    assert rejected[0] == "tables"
    assert rejected[1] == "arrays"  # "tables" is no label here; the only other label is taken
    assert rejected[2] == "web"
    assert rejected[3] == "Rows."


def test_a_broken_feedback_line_is_named(tiny_checkpoint, tiny_inputs, templates, tmp_path):
    (tmp_path / FEEDBACK[0]).parent.mkdir()
    (tmp_path / FEEDBACK[0]).write_text('{"id": "x", "task": "translate"}\n')
    with pytest.raises(UserError, match=r"pairs.jsonl line 1 .*task of chat, route, summarise"):
        make_pairs(tiny_checkpoint, tiny_inputs / "documents", templates, tmp_path, tmp_path, CONFIG, 7, 1)


def test_feedback_changes_the_digest(tmp_path):
    assert feedback_digest(tmp_path) == ""
    (tmp_path / FEEDBACK[0]).parent.mkdir()
    seen = {""}
    for path in FEEDBACK:
        (tmp_path / path).write_text("{}\n")
        seen.add(feedback_digest(tmp_path))
    assert len(seen) == 3


def test_reward_model_ranks_held_out_pairs(reward, pairs, capfd):
    out, summary = reward
    assert summary.metrics["pair_accuracy"] > 0.6
    assert -1 <= summary.metrics["length_bias"] <= 1
    assert summary.curves["training loss"][-1][1] < summary.curves["training loss"][0][1]
    rows = [row for row in read_table(pairs[0] / PAIRS).to_pylist() if row["split"] == "validation"]
    model, tokenizer = load_reward_model(out, 0), load_tokenizer(out)
    prompts = [row["prompt"] for row in rows]
    better = score(model, tokenizer, prompts, [row["chosen"] for row in rows])
    worse = score(model, tokenizer, prompts, [row["rejected"] for row in rows], batch_size=5)
    assert np.mean(better > worse) == pytest.approx(summary.metrics["pair_accuracy"], abs=1e-4)


def test_alignment_learns_preferences_quietly(tiny_checkpoint, reward, pairs, tmp_path, capfd):
    config = DpoConfig(epochs=2, batch_size=16, learning_rate=3e-4)
    summary = align(tiny_checkpoint, reward[0], pairs[0], tmp_path / "a", config, 16, 7, 1)
    assert capfd.readouterr() == ("", "")
    assert summary.metrics["accuracy_drop"] <= 0.05
    assert 0 <= summary.metrics["kl_to_reference"] < 1
    assert summary.metrics["wins"] + summary.metrics["ties"] + summary.metrics["losses"] == 24
    margins = summary.curves["DPO reward margin"]
    assert margins[-1][1] > margins[0][1]
    align(tiny_checkpoint, reward[0], pairs[0], tmp_path / "b", config, 16, 7, 1)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    prompts, answers = ["<|user|>Which library? Join rows.<|assistant|>"] * 2, ["tables", "web"]
    whole = mean_kl(tmp_path / "a", tiny_checkpoint, prompts, answers)
    step_back(tiny_checkpoint, tmp_path / "a", 0.25)
    assert mean_kl(tmp_path / "a", tiny_checkpoint, prompts, answers) < whole


def test_our_lm_head_gives_trls_numbers(tiny_checkpoint, tiny_inputs, templates):
    """TRL's own forward over every position is the oracle for ours, which computes answers only."""
    import torch
    from trl.trainer.utils import add_fused_lm_head

    from llm_assets.alignment.answer_head import score_answers_only

    tokenizer = load_tokenizer(tiny_checkpoint)
    rows = split_rows(tiny_inputs / "documents", "train")
    examples = sample_examples(rows, templates, {"route": 3, "summarise": 3}, 7)
    encoded = [tokenizer.encode(e.prompt + e.answer + "<|end|>") for e in examples]
    width = max(map(len, encoded))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in encoded])
    mask = (ids != 0).long()
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :5] = -100
    results = []
    for ours in (False, True):
        model = load_model(tiny_checkpoint).train()
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if ours:
            score_answers_only(model)
        output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        output.loss.backward()
        results.append((output, model.model.embed_tokens.weight.grad))
    (trl, trl_gradient), (own, own_gradient) = results
    for name in ("loss", "log_probs", "entropy", "mean_logits"):
        assert torch.allclose(getattr(own, name), getattr(trl, name), atol=1e-4), name
    assert torch.equal(own.is_top1.bool(), trl.is_top1.bool())
    assert torch.allclose(own_gradient, trl_gradient, atol=1e-5)


def test_overlap_measures():
    assert token_f1("the quick fox", "the quick fox") == 1
    assert token_f1("", "fox") == 0
    assert token_f1("quick the", "the quick fox") == pytest.approx(0.8)
    assert rouge_l("quick the", "the quick fox") == pytest.approx(0.4)
    assert rouge_l("the fox", "the quick fox") == pytest.approx(0.8)
