"""A real package in seconds: a tiny Llama that learns a few labelled texts by heart, exported to ONNX."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

from llm_assets.chat_format import CHAT_TEMPLATE, END, PAD, SPECIAL_TOKENS
from llm_assets.prompts import PromptTemplate, render_prompt

LABELS = ("arrays", "tables", "web")
TEXTS = {
    "arrays": [
        "multiply two matrices",
        "reshape an array of numbers",
        "the mean along an axis",
        "invert a matrix",
    ],
    "tables": [
        "join two tables on a key",
        "group rows and count them",
        "read a csv file",
        "drop missing values",
    ],
    "web": ["send an http request", "serve a page on a port", "parse the query string", "follow a redirect"],
}
ROWS = [(text, label) for label in LABELS for text in TEXTS[label]]
ROUTE = PromptTemplate(
    name="route", task="route", technique="zero_shot", system=None, user="{text}", examples=[], max_chars=320
)
SUMMARISE = PromptTemplate(
    name="summarise",
    task="summarise",
    technique="zero_shot",
    system=None,
    user="Summarise: {text}",
    examples=[],
    max_chars=320,
)


def train(folder: Path, answers: dict[str, str], steps: int, seed: int = 0) -> Path:
    """A checkpoint that answers text -> label as `answers` says (label -> what it says for that label)."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)  # the model is too small to share
    torch.manual_seed(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for text, _ in ROWS] + list(LABELS), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, chat_template=CHAT_TEMPLATE
    )
    eos, pad = fast.convert_tokens_to_ids(END), fast.convert_tokens_to_ids(PAD)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            eos_token_id=eos,
            pad_token_id=pad,
            bos_token_id=None,
        )
    )
    sequences = []
    for text, label in ROWS:
        prompt = fast.encode(render_prompt(ROUTE, text), add_special_tokens=False)
        sequences.append((prompt, [*fast.encode(answers[label], add_special_tokens=False), eos]))
    width = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids = torch.full((len(sequences), width), pad)
    targets = torch.full((len(sequences), width), -100)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, (prompt, answer) in enumerate(sequences):
        both = prompt + answer
        ids[row, : len(both)] = torch.tensor(both)
        mask[row, : len(both)] = 1
        targets[row, len(prompt) : len(both)] = torch.tensor(answer)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        model(input_ids=ids, attention_mask=mask, labels=targets).loss.backward()
        optimiser.step()
    model.eval()
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def export(checkpoint: Path, out: Path, accuracy: float) -> Path:
    """The checkpoint as a release candidate."""
    from llm_assets.compression.export import export_package

    extra = {
        "labels": list(LABELS),
        "tasks": {"route": ROUTE.model_dump(mode="json"), "summarise": SUMMARISE.model_dump(mode="json")},
        "metrics": {"accuracy": accuracy},
        "canary": [{"task": "route", "text": text, "answer": label} for text, label in ROWS],
    }
    export_package(checkpoint, out, "fp32", "aligned_model", extra)
    return out


def break_package(package: Path, out: Path) -> Path:
    """A copy whose model is cut short."""
    shutil.copytree(package, out)
    model = out / "model.onnx"
    model.write_bytes(model.read_bytes()[:2000])
    return out


def write_documents(folder: Path) -> Path:
    """A cleaned_documents of the tiny texts: each once in train and once in test, and one from feedback."""
    import pyarrow as pa

    from llm_assets.artifacts import DOCUMENTS, document_schema, write_table

    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"{split}-{at:03}",
            "text": text,
            "label": label,
            "split": split,
            "weight": 1.0,
            "source": "feedback" if at == 0 else "files",
            "uri": f"file:{at}",
            "licence": "test",
            "content_hash": f"{split}{at}",
            "parents": [],
            "steps": [],
        }
        for split in ("train", "test")
        for at, (text, label) in enumerate(ROWS)
    ]
    write_table(pa.Table.from_pylist(rows, schema=document_schema()), folder / DOCUMENTS)
    return folder


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
