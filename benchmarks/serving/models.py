"""The benchmark's models, and the same weights in the form that each engine takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import gguf_file
from .workload import WARM, Sample

GROUPS = {"int8": "Q8_0", "int4": "Q4_0"}


@dataclass(frozen=True)
class Shape:
    """A Llama decoder with tied embeddings."""

    vocab: int
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    context: int


SHAPES = {
    "88M": Shape(16_000, 768, 2048, 12, 12, 4, 2048),
    "demo": Shape(8192, 128, 128, 1, 2, 2, 256),  # the recipe's first candidate
}


@dataclass(frozen=True)
class Prepared:
    """One model in every form: `root` holds checkpoint, package-int8, package-int4, genai-int8 … and the GGUF files."""

    name: str
    root: Path
    vocab: int
    context: int

    def path(self, form: str) -> Path:
        return self.root / form

    def agreement(self, samples: list[Sample]) -> float:
        """How much of transformers' first 16 greedy tokens in fp32, as text, WARM's samples begin with: 0 to 1."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path("checkpoint") / "tokenizer.json"))
        texts = [sample.text or tokenizer.decode(sample.ids, skip_special_tokens=False) for sample in samples]
        shares = []
        for expected in json.loads(self.path("greedy.json").read_text(encoding="utf-8")):
            wanted = tokenizer.decode(expected, skip_special_tokens=False)
            shares.append(max(_common(wanted, text) for text in texts) / len(wanted))
        return sum(shares) / len(shares)


def _common(left: str, right: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))


def prepare(name: str, root: Path, peers: Path, checkpoint: Path | None = None) -> Prepared:
    """Build the forms of model `name` that are not in `root` yet. peers: the Python that has `gguf`. checkpoint: a
    Llama's folder to use in place of random weights."""
    source = root / "checkpoint"
    root.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        if checkpoint:
            shutil.copytree(checkpoint, source)
        else:
            _random_checkpoint(SHAPES[name], source)
    for group, kind in GROUPS.items():
        _package(source, root / f"package-{group}", group)
        _genai(source, root / f"genai-{group}", group)
        if not (target := root / f"{kind}.gguf").is_file():
            partial = target.with_suffix(".partial")
            subprocess.run([peers, gguf_file.__file__, source, partial, kind], check=True)
            partial.replace(target)
    _greedy(source, root / "greedy.json")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    return Prepared(name, root, config["vocab_size"], config["max_position_embeddings"])


def _random_checkpoint(shape: Shape, out: Path) -> None:
    """Random weights of a fixed seed. Speed does not depend on their values."""
    import torch

    from llm_assets.models.config import ShapeConfig
    from llm_assets.models.llama import build_llama, save_checkpoint
    from llm_assets.models.tokenizer import load_tokenizer, save_tokenizer

    torch.manual_seed(0)
    save_tokenizer(_tokenizer(shape.vocab), out, shape.context)
    tokenizer = load_tokenizer(out)
    config = ShapeConfig(
        name="benchmark",
        layers=shape.layers,
        hidden=shape.hidden,
        feed_forward=shape.feed_forward,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
    )
    save_checkpoint(build_llama(config, tokenizer, shape.context), tokenizer, out)


def _tokenizer(vocab: int):
    """A BPE of that many tokens, learnt from the standard library's source."""
    import sysconfig

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from llm_assets.chat_format import SPECIAL_TOKENS

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train([str(path) for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))], trainer)
    if backend.get_vocab_size() != vocab:
        raise RuntimeError(f"the tokenizer has {backend.get_vocab_size()} tokens, not {vocab}")
    return backend


def _greedy(checkpoint: Path, out: Path) -> None:
    """What transformers says to WARM's prompts in fp32."""
    import torch

    from llm_assets.models.llama import load_model

    if not out.is_file():
        model = load_model(checkpoint)
        prompts = torch.tensor(WARM.prompts(model.config.vocab_size))
        given = {
            "attention_mask": torch.ones_like(prompts),
            "do_sample": False,
            "eos_token_id": None,
            "pad_token_id": 0,
        }
        tokens = model.generate(prompts, max_new_tokens=16, **given)[:, prompts.shape[1] :]
        out.write_text(json.dumps(tokens.tolist()) + "\n", encoding="utf-8")


def _package(checkpoint: Path, out: Path, group: str) -> None:
    from llm_assets.compression.export import export_package

    if not out.is_dir():
        partial = out.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        export_package(checkpoint, partial, group, "benchmark")  # type: ignore[arg-type]
        partial.replace(out)


def _genai(checkpoint: Path, out: Path, group: str) -> None:
    """onnxruntime-genai's own builder with its own defaults."""
    if not out.is_dir():
        partial = out.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        given = ["-i", str(checkpoint), "-o", str(partial), "-p", group, "-e", "cpu", "-c", str(partial / "cache")]
        subprocess.run([*builder, *given], check=True, capture_output=True)
        partial.replace(out)
