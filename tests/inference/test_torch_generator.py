"""Greedy answers and their losses, checked against transformers' own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from llm_assets.errors import UserError
from llm_assets.inference import load_generator
from llm_assets.models.llama import load_model
from llm_assets.models.tokenizer import load_tokenizer

PROMPTS = [
    "<|user|>Route: rain falls on the hills<|assistant|>",
    "<|user|>Summarise: stir the soup slowly and season the sauce, then bake bread until brown<|assistant|>",
    "<|user|>Route: tune<|assistant|>",
    "<|user|>Summarise: a choir sings. drums<|assistant|>",
]


def test_answers_are_those_of_generate(tiny):
    model, tokenizer = load_model(tiny["finetuned"]), load_tokenizer(tiny["finetuned"])
    wanted = []
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer.backend_tokenizer.encode(prompt).ids])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        wanted.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    generator = load_generator(tiny["finetuned"], threads=1)
    assert generator.generate(PROMPTS, 12) == wanted
    assert generator.generate(PROMPTS, 12, batch_size=1) == wanted


def test_answer_loss_is_the_models_own(tiny):
    model, tokenizer = load_model(tiny["finetuned"]), load_tokenizer(tiny["finetuned"])
    answers = ["weather", "stir the soup", "music", ""]
    wanted = []
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        start = tokenizer.backend_tokenizer.encode(prompt).ids
        target = [*tokenizer.backend_tokenizer.encode(answer).ids, tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(start) + target])
        with torch.no_grad():
            wanted.append(float(model(input_ids=torch.tensor([start + target]), labels=labels).loss))
    got = load_generator(tiny["finetuned"], threads=1).answer_loss(PROMPTS, answers, batch_size=3)
    assert got.shape == (4,)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_prompt_beyond_the_context_loses_its_beginning(tiny):
    generator = load_generator(tiny["finetuned"], threads=1)
    long = "<|user|>Route: " + "melody " * 400 + "<|assistant|>"
    assert len(generator.generate([long], 8)) == 1
    assert np.isfinite(generator.answer_loss([long], ["music"])).all()


def test_progress_counts_answers(tiny):
    seen = []
    load_generator(tiny["finetuned"], threads=1).generate(
        PROMPTS, 4, lambda done, total, note="": seen.append((done, total)), batch_size=3
    )
    assert seen == [(3, 4), (4, 4)]


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match="is no model"):
        load_generator(tmp_path)


def test_the_package_imports_without_torch():
    code = "import sys, llm_assets.inference, llm_assets.prompts; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
