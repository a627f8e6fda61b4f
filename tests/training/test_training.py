"""Fine-tuning: answers only, weights that count, learning, and equal bytes in another process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import TRAINING, documents

from llm_assets.errors import UserError
from llm_assets.inference import load_generator
from llm_assets.models.llama import load_model, picked_loss
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts.templates import base_template
from llm_assets.training.config import TrainingConfig
from llm_assets.training.instructions import instruction_examples
from llm_assets.training.trainer import AnswerBatches

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def examples(tiny):
    return instruction_examples(documents(), {t: base_template(tiny["prompts"], t) for t in ("route", "summarise")})


def test_rows_become_examples_of_both_tasks(examples):
    assert [example.task for example in examples].count("route") == 240
    first = examples[0]
    assert first.prompt.startswith("<|user|>Route: rain falls") and first.prompt.endswith("<|assistant|>")
    assert (first.answer, first.weight, first.document_id) == ("weather", 1.0, "0000")
    assert examples[1].weight == 2.0
    assert "Summarise" in examples[-1].prompt


def test_rows_without_an_answer_give_no_example(tiny):
    templates = {"route": base_template(tiny["prompts"], "route")}
    table = documents(6)
    table = table.set_column(2, table.schema.field("label"), [["weather", None, "", "music", None, "cooking"]])
    assert [e.answer for e in instruction_examples(table, templates, ["route"])] == ["weather", "music", "cooking"]


def test_the_loss_is_of_the_answers_alone(tiny, examples):
    tokenizer, model = load_tokenizer(tiny["pretrained"]), load_model(tiny["pretrained"])
    rows = [example for example in examples if example.task == "route"][:4]
    batch = AnswerBatches(tokenizer, rows, TrainingConfig(steps=1, batch_size=4), 96, 7)[0]
    generator = load_generator(tiny["pretrained"], threads=1)
    sizes = np.array([len(tokenizer.encode(row.answer)) + 1 for row in rows])
    losses = generator.answer_loss([row.prompt for row in rows], [row.answer for row in rows]) * sizes
    weights = np.array([row.weight for row in rows])
    with torch.no_grad():
        loss = float(picked_loss(model, batch))
    assert loss == pytest.approx((losses * weights).sum() / (sizes * weights).sum(), abs=1e-4)


def test_a_rows_weight_reaches_the_loss(tiny, examples):
    tokenizer, model = load_tokenizer(tiny["pretrained"]), load_model(tiny["pretrained"])
    config = TrainingConfig(steps=1, batch_size=2)
    pair = [replace(examples[0], weight=1.0), replace(examples[1], weight=0.0)]
    with torch.no_grad():
        both = float(picked_loss(model, AnswerBatches(tokenizer, pair, config, 96, 7)[0]))
        alone = float(picked_loss(model, AnswerBatches(tokenizer, pair[:1], config, 96, 7)[0]))
    assert both == pytest.approx(alone, abs=1e-5)


def test_batches_hold_one_task_each_in_the_recipes_shares(tiny, examples):
    tokenizer = load_tokenizer(tiny["pretrained"])
    batches = AnswerBatches(tokenizer, examples, TrainingConfig(steps=200, batch_size=16, route_share=0.8), 96, 7)
    tasks = [{examples[row].task for row in rows} for rows in batches.batches]
    assert all(len(found) == 1 for found in tasks)
    assert 0.7 < sum(found == {"route"} for found in tasks) / 200 < 0.9
    route = [row for row, example in enumerate(examples) if example.task == "route"]
    seen = [row for rows, found in zip(batches.batches, tasks, strict=True) if found == {"route"} for row in rows]
    assert sorted(seen[: len(route)]) == route  # the first round shows every row once


def test_a_long_prompt_loses_its_beginning_not_its_answer(tiny, examples):
    tokenizer = load_tokenizer(tiny["pretrained"])
    long = replace(examples[0], prompt="<|user|>" + "rain " * 300 + "<|assistant|>")
    batch = AnswerBatches(tokenizer, [long], TrainingConfig(steps=1, batch_size=1), 96, 7)[0]
    assert batch["ids"].shape[1] == 95
    assert batch["wanted"].tolist() == [*tokenizer.encode("weather"), tokenizer.eos_token_id]


def test_no_examples_is_an_error_that_says_so(tiny):
    with pytest.raises(UserError, match="no examples"):
        AnswerBatches(load_tokenizer(tiny["pretrained"]), [], TRAINING, 96, 7)


def test_finetuned_model_routes(tiny, examples):
    rows = [example for example in examples if example.task == "route"][4::5]
    answers = load_generator(tiny["finetuned"], threads=1).generate([row.prompt for row in rows], 8)
    right = np.mean([answer == row.answer for answer, row in zip(answers, rows, strict=True)])
    assert right > 0.8, answers[:5]


def test_equal_inputs_give_equal_bytes_in_another_process(tiny, tmp_path):
    script = ROOT / "tests" / "models" / "tiny_world.py"
    subprocess.run([sys.executable, script, tmp_path / "again"], check=True, cwd=ROOT)
    for name in ("tokenizer", "architecture", "pretrained", "prompts", "finetuned"):
        again = tmp_path / "again" / name
        assert hashes(tiny[name]) == hashes(again), name
        assert not any(str(tmp_path) in path.read_text("latin-1") for path in again.iterdir())


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
