"""Real inputs of alignment, compression and evaluation, as small as they can be: documents, prompts and a Llama."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from llm_assets.alignment.examples import base_templates, sample_examples, split_rows
from llm_assets.artifacts import DOCUMENTS, REPORT, document_schema, write_json, write_table
from llm_assets.inference import torch_setup
from llm_assets.models.config import OptimizerConfig, ShapeConfig
from llm_assets.models.llama import build_llama, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer, save_tokenizer
from llm_assets.training.config import TrainingConfig
from llm_assets.training.trainer import fine_tune

THINGS = {
    "arrays": ["matrix", "tensor", "axis", "vector", "shape", "stride"],
    "tables": ["column", "row", "group", "join", "index", "frame"],
    "web": ["request", "header", "socket", "cookie", "route", "server"],
}
VERBS = ["Return", "Compute", "Build", "Check", "Replace", "Split", "Merge", "Count"]
SPLITS = {"train": 12, "validation": 3, "test": 3, "canary": 2}
TEMPLATES = [
    {"name": "route-base", "task": "route", "user": "Which library? {text}"},
    {"name": "summarise-base", "task": "summarise", "user": "Summarise: {text}"},
]


def write_inputs(folder: Path) -> Path:
    """`documents`, `balanced`, `prompts` and `optimized` under `folder`, as the earlier stages leave them."""
    rows = []
    for label, nouns in THINGS.items():
        for at, noun in enumerate(nouns):
            for number, verb in enumerate(VERBS):
                slots = [split for split, count in SPLITS.items() for _ in range(count)]
                split = slots[(at * len(VERBS) + number * 7) % len(slots)]
                summary = f"{verb} the {noun}."
                body = f"The {noun} is given by its {nouns[(at + 1) % len(nouns)]}; {verb.lower()} what it holds."
                rows.append((f"{label}-{noun}-{verb}", f"{summary} {body}", label, summary, body, split))
    table = pa.Table.from_pylist(
        [
            {
                "id": id_,
                "text": text,
                "label": label,
                "summary": summary,
                "body": body,
                "split": split,
                "weight": 1.0,
                "source": "test",
                "uri": f"test:{id_}",
                "content_hash": id_,
                "parents": [],
                "steps": [],
            }
            for id_, text, label, summary, body, split in rows
        ],
        schema=document_schema(),
    )
    for name in ("documents", "balanced", "prompts", "optimized"):
        (folder / name).mkdir(parents=True)
    write_table(table, folder / "documents" / DOCUMENTS)
    write_table(table.filter(pa.compute.equal(table["split"], "train")), folder / "balanced" / DOCUMENTS)
    write_json({"templates": TEMPLATES}, folder / "prompts" / REPORT)
    write_json({"best": {template["task"]: template for template in TEMPLATES}}, folder / "optimized" / REPORT)
    return folder


def train_checkpoint(inputs: Path, out: Path, steps: int) -> Path:
    """A two-layer Llama of 64 dimensions, fine-tuned for `steps` steps on the inputs' train split."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from llm_assets.chat_format import SPECIAL_TOKENS

    torch_setup(7, 1)
    rows = split_rows(inputs / "documents", "train")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        rows["text"].to_pylist(),
        trainers.BpeTrainer(
            vocab_size=2048,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    out.mkdir()
    save_tokenizer(backend, out, 128)
    tokenizer = load_tokenizer(out)
    shape = ShapeConfig(name="tiny", layers=2, hidden=64, feed_forward=128, heads=2, kv_heads=1)
    model = build_llama(shape, tokenizer, 128)
    examples = sample_examples(rows, base_templates(inputs / "prompts"), {"route": 500, "summarise": 500}, 7)
    config = TrainingConfig(
        steps=steps, batch_size=32, route_share=0.6, optimizer=OptimizerConfig(embedding_rate=6e-3, muon_rate=0.02)
    )
    fine_tune(model, tokenizer, examples, config, 7)
    save_checkpoint(model, tokenizer, out)
    return out
