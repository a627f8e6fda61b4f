"""MixUp and CutMix of embeddings: the loss is what the formula says, the draws are the step's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_world import documents

from llm_assets.models.llama import load_model, picked_loss
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts.templates import base_template
from llm_assets.training.config import TrainingConfig
from llm_assets.training.instructions import instruction_examples
from llm_assets.training.mixing import MixedBatches, mixed_loss
from llm_assets.training.mixing_config import EmbeddingCutMix, MixUp
from llm_assets.training.trainer import AnswerBatches, fine_tune

LIMIT = 96
KINDS = [MixUp(kind="mixup", alpha=0.7), EmbeddingCutMix(kind="cutmix", alpha=0.7)]


@pytest.fixture(scope="module")
def world(tiny):
    """(tokenizer, a function that loads the pretrained model, examples of both tasks)."""
    templates = {task: base_template(tiny["prompts"], task) for task in ("route", "summarise")}
    return (
        load_tokenizer(tiny["pretrained"]),
        lambda: load_model(tiny["pretrained"]),
        instruction_examples(documents(), templates),
    )


def batches(world, config, steps: int = 6, size: int = 8):
    plain = AnswerBatches(world[0], world[2], TrainingConfig(steps=steps, batch_size=size), LIMIT, 7)
    return plain, MixedBatches(plain, config, LIMIT, 7)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_draws_go_by_seed_and_step(world, config):
    one, again = batches(world, config)[1], batches(world, config)[1]
    for step in (5, 0, 3):
        first, second = one[step], again[step]
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(one[0]["weights"][:4], MixedBatches(one.plain, config, LIMIT, 8)[0]["weights"][:4])


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_an_example_mixed_with_itself_is_itself(world, config):
    model = world[1]()
    plain, mixed = batches(world, config)
    rows = plain.batches[0]
    batch = mixed.mix(rows, rows, np.full(len(rows), 0.3), np.random.default_rng(0))
    with torch.no_grad():
        assert float(mixed_loss(model, batch)) == pytest.approx(float(picked_loss(model, plain[0])), abs=1e-5)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_the_loss_is_the_formulas(world, config):
    """Row by row, from embeddings laid over each other here, against the batch's loss."""
    model = world[1]()
    plain, mixed = batches(world, config)
    rows, partners = plain.batches[1][:4], plain.batches[1][4:]
    drawn = np.array([0.3, 0.9, 0.5, 0.0])
    batch = mixed.mix(rows, partners, drawn, np.random.default_rng(0))
    embed, total, mass = model.get_input_embeddings(), 0.0, 0.0
    for at, (i, j) in enumerate(zip(rows, partners, strict=True)):
        own, other = (plain.prompts[k] + plain.answers[k][:-1] for k in (i, j))
        start, shift = len(plain.prompts[i]), len(plain.prompts[i]) - len(plain.prompts[j])
        prompt_share = batch["share"][at, :start].numpy()
        kept = drawn[at] if config.kind == "mixup" else prompt_share.mean()
        if config.kind == "cutmix":
            assert set(prompt_share.tolist()) <= {0.0, 1.0}
            assert np.abs(np.diff(prompt_share)).sum() <= 2  # one span
            assert kept >= drawn[at] - 0.5 / start
        inputs = []
        for place in range(max(len(own), len(other) + shift)):
            inside = 0 <= place - shift < len(other)
            if place < len(own) and inside:
                share = prompt_share[place] if place < start and config.kind == "cutmix" else kept
                mixture = share * embed.weight[own[place]] + (1 - share) * embed.weight[other[place - shift]]
            else:
                mixture = embed.weight[own[place] if place < len(own) else other[place - shift]]
            inputs.append(mixture)
        with torch.no_grad():
            logits = model(inputs_embeds=torch.stack(inputs)[None].float()).logits[0].log_softmax(-1)
        for example, part in ((i, kept), (j, 1 - kept)):
            for step, token in enumerate(plain.answers[example]):
                total -= part * plain.weights[example] * float(logits[start - 1 + step, token])
                mass += part * plain.weights[example]
    with torch.no_grad():
        assert float(mixed_loss(model, batch)) == pytest.approx(total / mass, abs=1e-4)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_long_examples_stay_within_the_context(world, config):
    plain = AnswerBatches(world[0], world[2], TrainingConfig(steps=8, batch_size=8), 24, 7)
    for batch in (MixedBatches(plain, config, 24, 7)[step] for step in range(8)):
        assert batch["ids"].shape[1] <= 24
        assert int(batch["picked"].max()) < batch["ids"].numel()
        assert ((batch["share"] >= 0) & (batch["share"] <= 1)).all()


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_training_with_it_learns_otherwise_and_repeatably(world, config):
    def losses(mixing) -> list[float]:
        torch.manual_seed(0)
        model = world[1]()
        settings = TrainingConfig(steps=40, batch_size=16, mixing=mixing)
        fine_tune(model, world[0], world[2], settings, 7)
        plain = AnswerBatches(world[0], world[2], TrainingConfig(steps=3, batch_size=32), LIMIT, 9)
        with torch.no_grad():
            return [float(picked_loss(model, plain[step])) for step in range(3)]

    untrained = world[1]()
    plain = AnswerBatches(world[0], world[2], TrainingConfig(steps=3, batch_size=32), LIMIT, 9)
    with torch.no_grad():
        start = [float(picked_loss(untrained, plain[step])) for step in range(3)]
    mixed = losses(config)
    assert mixed == losses(config)
    assert mixed != losses(None)
    assert sum(mixed) < 0.8 * sum(start)
