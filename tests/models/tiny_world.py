"""A small world for the tests of models, training and inference: real text, real parts, tiny sizes."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pyarrow as pa

from llm_assets.artifacts import DOCUMENTS, document_schema, write_table
from llm_assets.models.config import ModelsConfig
from llm_assets.training.config import TrainingConfig

TOPICS = {
    "weather": [
        "rain falls on the hills",
        "the wind turns to the north",
        "snow and frost at night",
        "a warm and sunny day",
    ],
    "cooking": [
        "stir the soup slowly",
        "bake bread until brown",
        "chop onions and garlic",
        "season the sauce with salt",
    ],
    "music": [
        "the violin plays a melody",
        "drums keep the rhythm",
        "a choir sings in harmony",
        "tune the guitar strings",
    ],
}
MODELS = ModelsConfig.model_validate(
    {
        "context": 96,
        "tokenizer": {"vocab_size": 400, "max_chars": 200},
        "shapes": [
            {"name": "one", "layers": 1, "hidden": 32, "feed_forward": 64, "heads": 2, "kv_heads": 1},
            {"name": "two", "layers": 2, "hidden": 32, "feed_forward": 32, "heads": 2, "kv_heads": 2},
        ],
        "search": {"tokens": 1000, "validation_tokens": 500},
        "pretrain": {"steps": 6, "batch_size": 8, "length": 32, "loss_share": 0.5, "validation_tokens": 500},
    }
)
TRAINING = TrainingConfig.model_validate(
    {
        "steps": 60,
        "batch_size": 16,
        "validation_rows": 24,
        "route_share": 0.8,
        "optimizer": {"embedding_rate": 2e-2},
    }
)


def documents(rows: int = 240) -> pa.Table:
    """Sentences of three topics with their label, a summary and a body; deterministic."""
    found = []
    for at in range(rows):
        label = list(TOPICS)[at % 3]
        parts = [TOPICS[label][(at // 3 + turn * (1 + at // 12)) % 4] for turn in range(3)]
        text = f"{'. '.join(parts)}, note {at}."
        found.append(
            {
                "id": f"{at:04}",
                "text": text,
                "label": label,
                "summary": parts[0],
                "body": ". ".join(parts[1:]),
                "split": "validation" if at % 5 == 4 else "train",
                "weight": 1.0 + at % 2,
                "source": "tiny",
                "uri": f"tiny://{at}",
                "licence": "CC0-1.0",
                "content_hash": hashlib.sha256(text.encode()).hexdigest(),
                "parents": [],
                "steps": [],
            }
        )
    return pa.Table.from_pylist(found, schema=document_schema())


def write_documents(folder: Path) -> tuple[Path, Path]:
    """(cleaned, balanced) artifacts."""
    import pyarrow.compute as pc

    cleaned, balanced = folder / "cleaned", folder / "balanced"
    for path in (cleaned, balanced):
        path.mkdir(parents=True)
    table = documents()
    write_table(table, cleaned / DOCUMENTS)
    write_table(table.filter(pc.equal(table["split"], "train")), balanced / DOCUMENTS)
    return cleaned, balanced


def build_all(folder: Path) -> dict[str, Path]:
    """Every artifact of models and training, and the prompt library, made as the graph makes them."""
    from llm_assets.models.architecture import compare_shapes
    from llm_assets.models.pretrain import pretrain_model
    from llm_assets.models.tokenizer import train_tokenizer
    from llm_assets.prompts.config import PromptsConfig
    from llm_assets.prompts.library import build_library
    from llm_assets.training.finetune import finetune_model

    cleaned, balanced = write_documents(folder)
    made = {"cleaned": cleaned, "balanced": balanced}
    for name in ("tokenizer", "architecture", "pretrained", "prompts", "finetuned"):
        made[name] = folder / name
        made[name].mkdir()
    prompts = PromptsConfig(max_chars=120, shots=2, shot_chars=60, few_shot_chars=160)
    train_tokenizer(cleaned, made["tokenizer"], MODELS.tokenizer, MODELS.context)
    compare_shapes(cleaned, made["tokenizer"], made["architecture"], MODELS, seed=7, threads=1)
    pretrain_model(cleaned, made["tokenizer"], made["architecture"], made["pretrained"], MODELS, seed=7, threads=1)
    build_library(cleaned, made["prompts"], prompts, seed=7)
    finetune_model(
        made["pretrained"],
        balanced,
        cleaned,
        made["prompts"],
        made["finetuned"],
        TRAINING,
        seed=7,
        threads=1,
    )
    return made


@cache
def built_once() -> dict[str, Path]:
    """The artifacts of this test session, whichever folder's tests ask first."""
    folder = Path(tempfile.mkdtemp(prefix="llm-assets-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_all(folder)


if __name__ == "__main__":
    import sys

    build_all(Path(sys.argv[1]))
