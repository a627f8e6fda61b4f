"""A package against the checkpoint it was exported from: the same tokens, one by one and in mixed batches."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from llm_assets.alignment.examples import base_templates, sample_examples, split_rows
from llm_assets.artifacts import read_json, write_json
from llm_assets.compression.export import export_package, model_bytes
from llm_assets.errors import UserError
from llm_assets.inference import integer_graph, integer_products, load_generator, onnx_model
from llm_assets.inference.onnx_model import OnnxModel, cache_for
from llm_assets.models.llama import load_model


@pytest.fixture(scope="module")
def packages(tiny_checkpoint, tmp_path_factory):
    root = tmp_path_factory.mktemp("packages")
    for precision in ("fp32", "int8", "int4"):
        export_package(tiny_checkpoint, root / precision, precision, "finetuned_model")
    return root


@pytest.fixture(scope="module")
def examples(tiny_inputs):
    rows = split_rows(tiny_inputs / "documents", "train")
    return sample_examples(rows, base_templates(tiny_inputs / "prompts"), {"route": 30, "summarise": 20}, 7)


def test_fp32_package_gives_the_tokens_of_transformers_generate(packages, tiny_checkpoint, examples):
    import torch

    model, package = load_model(tiny_checkpoint), OnnxModel(packages / "fp32", threads=1)
    for example in examples:
        ids = package.tokenizer.encode(example.prompt).ids
        with torch.inference_mode():
            expected = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None)
        cache = cache_for(package, 1, len(ids) + 12)
        logits = package.read_prompts(cache, [ids])
        got = [int(logits.argmax())]
        while len(got) < 12:
            length = np.array([len(ids) + len(got) - 1])
            got.append(int(package.decode(cache, np.array(got[-1:]), length).argmax()))
        assert got == expected[0, len(ids) :].tolist()


def test_generators_of_checkpoint_and_package_agree(packages, tiny_checkpoint, examples):
    prompts, answers = [e.prompt for e in examples], [e.answer for e in examples]
    torch_answers = load_generator(tiny_checkpoint, 1).generate(prompts, 12)
    exact = load_generator(packages / "fp32", 1)
    assert exact.generate(prompts, 12, batch_size=7) == torch_answers
    expected = load_generator(tiny_checkpoint, 1).answer_loss(prompts, answers)
    assert np.allclose(exact.answer_loss(prompts, answers, batch_size=7), expected, atol=1e-4)
    int8 = load_generator(packages / "int8", 1).generate(prompts, 12)
    assert np.mean([a == b for a, b in zip(int8, torch_answers, strict=True)]) >= 0.9


@pytest.mark.parametrize(
    ("precision", "graph"),
    [
        *[("fp32", "own"), ("int8", "own"), ("int4", "own")],
        *[("int8", "products"), ("int4", "products"), ("int8", "small products"), ("int4", "small products")],
    ],
)
def test_a_sequence_has_the_same_bits_whatever_shares_its_batch(packages, examples, monkeypatch, precision, graph):
    """Read alone, in chunks or beside others, decoded in batches of any size: logits are equal to the last bit."""
    monkeypatch.setattr(integer_products, "SMALLEST", 0)
    if graph == "own":
        monkeypatch.setattr(onnx_model, "cpu_flags", set)
    elif graph == "products":
        monkeypatch.setattr(integer_graph, "SMALL", 0)
    else:
        monkeypatch.setattr(integer_products, "decodes", lambda *_: True)
    package = OnnxModel(packages / precision, threads=1)
    prompts = [package.tokenizer.encode(e.prompt).ids for e in examples[:9]]
    tokens = np.random.default_rng(3).integers(5, package.vocab, (len(prompts), 4))

    def decoded(cache, rows):
        lengths = np.array([len(prompts[row]) for row in rows])
        return [package.decode(cache, tokens[rows, step], lengths + step) for step in range(tokens.shape[1])]

    together = cache_for(package, len(prompts), 128)
    first = package.read_prompts(together, prompts)
    steps = decoded(together, list(range(len(prompts))))
    for row, prompt in enumerate(prompts):
        alone = cache_for(package, 1, 256)
        assert np.array_equal(package.read_prompts(alone, [prompt])[0], first[row])
        chunked = cache_for(package, 2, 128)
        assert package.read_chunk(chunked, 0, 0, prompt[:16], last=False) is None
        assert np.array_equal(package.read_chunk(chunked, 0, 16, prompt[16:], last=True), first[row])
        for cache in (alone, chunked):
            for step, logits in enumerate(decoded(cache, [row])):
                assert np.array_equal(logits[0], steps[step][row])


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_rows_are_padded_to_pairs_only_where_one_alone_would_be_rounded_in_another_way(
    packages, examples, monkeypatch, precision
):
    monkeypatch.setattr(onnx_model, "cpu_flags", set)  # the package's own graph does all
    package = OnnxModel(packages / precision, threads=1)
    padded, package._decoder.pairs = package._decoder.pairs, False
    prompts = [package.tokenizer.encode(e.prompt).ids for e in examples[:7]]
    lengths, tokens = np.array([len(prompt) for prompt in prompts]), np.arange(5, 12)
    cache = cache_for(package, len(prompts), 128)
    package.read_prompts(cache, prompts)
    together = package.decode(cache, tokens, lengths)
    cache.move(4, 0, int(lengths[4]))
    alone = package.decode(cache, tokens[4:5], lengths[4:5])
    assert np.array_equal(alone[0], together[4]) == (not padded)


def test_many_and_long_prompts_are_read_in_calls_of_bounded_size(packages, examples, monkeypatch):
    monkeypatch.setattr(integer_products, "SMALLEST", 0)
    package = OnnxModel(packages / "int8", threads=1)
    prompts = [package.tokenizer.encode(e.prompt).ids for e in examples[:9]]
    expected = package.read_prompts(cache_for(package, len(prompts), 128), prompts)
    assert max(map(len, prompts)) > 32
    sizes, run = [], onnx_model.BoundRows.run

    def noted(rows, cache, first, inputs, logits):
        sizes.append(inputs["input_ids"].size)
        run(rows, cache, first, inputs, logits)

    monkeypatch.setattr(onnx_model, "READ", 32)
    monkeypatch.setattr(onnx_model.BoundRows, "run", noted)
    assert np.array_equal(package.read_prompts(cache_for(package, len(prompts), 128), prompts), expected)
    assert max(sizes) <= 32 and len(sizes) > len(prompts) / 2


@pytest.mark.parametrize("kind", ["llama3", "dynamic", "yarn", "linear"])
def test_scaled_positions_are_exact_or_refused(tiny_checkpoint, tmp_path, kind):
    import torch

    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    config = read_json(checkpoint / "config.json")
    scaling = {"rope_type": kind, "factor": 4.0, "rope_theta": config["rope_parameters"]["rope_theta"]}
    if kind == "llama3":
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    write_json(config | {"rope_parameters": scaling}, checkpoint / "config.json")
    if kind in ("yarn", "linear"):
        with pytest.raises(UserError, match=f"positions of type '{kind}'"):
            export_package(checkpoint, tmp_path / "package", "fp32", "finetuned_model")
        return
    export_package(checkpoint, tmp_path / "package", "fp32", "finetuned_model")
    package, ids = OnnxModel(tmp_path / "package", threads=1), list(range(5, 70))
    with torch.inference_mode():
        expected = load_model(checkpoint)(torch.tensor([ids])).logits[0, -1].numpy()
    assert np.allclose(package.read_prompts(cache_for(package, 1, 128), [ids])[0], expected, atol=1e-4)


def test_rows_join_leave_and_move_and_the_cache_changes_its_shape(packages, examples):
    package = OnnxModel(packages / "int8", threads=1)
    prompts = [package.tokenizer.encode(e.prompt).ids for e in examples[:3]]
    lengths = np.array([len(prompt) for prompt in prompts])
    alone = [cache_for(package, 1, 128) for _ in prompts]
    for cache, prompt in zip(alone, prompts, strict=True):
        package.read_prompts(cache, [prompt])
    expected = [package.decode(c, np.array([11]), lengths[i : i + 1])[0] for i, c in enumerate(alone)]

    cache = package.new_cache(4 * 128, 128)
    package.read_prompts(cache, prompts[:1], first=2)
    block = np.empty(cache.block(16), np.float32)
    cache.read(2, 0, block)
    package.read_prompts(cache, prompts[1:], first=0)
    cache.write(3, 0, block)  # the prefix of the first prompt, and then the rest of it
    package.read_chunk(cache, 3, 16, prompts[0][16:], last=False)
    cache.move(3, 2, int(lengths[0]))
    spare = int(lengths[0]) // 2  # a prompt half read lies after the two rows that are decoded
    two = package.decode(cache, np.array([11, 11]), lengths[1:], spare)
    assert np.array_equal(two[0], expected[1]) and np.array_equal(two[1], expected[2])
    cache.reshape(256, [int(lengths[1])])
    assert (cache.rows, cache.capacity) == (2, 256)
    assert np.array_equal(package.decode(cache, np.array([11]), lengths[1:2])[0], expected[1])
    cache.reshape(64, [int(lengths[1])])
    assert cache.rows == 8
    assert np.array_equal(package.decode(cache, np.array([11]), lengths[1:2])[0], expected[1])


def test_a_package_may_be_hard_linked(packages, examples, tmp_path):
    """As the embedded store keeps it."""
    for path in (packages / "int8").iterdir():
        (tmp_path / path.name).hardlink_to(path)
    ids = OnnxModel(packages / "int8").tokenizer.encode(examples[0].prompt).ids
    both = [OnnxModel(folder, threads=1) for folder in (packages / "int8", tmp_path)]
    first, second = (model.read_prompts(cache_for(model, 1, 128), [ids]) for model in both)
    assert np.array_equal(first, second)


def test_int8_shrinks_the_embedding_too(packages, tiny_checkpoint):
    # 64 dimensions leave much of the file to graph and scales; the demo's gate asks for 3.5.
    assert model_bytes(tiny_checkpoint) / model_bytes(packages / "int8") > 3


def test_export_is_byte_identical_and_prints_nothing(tiny_checkpoint, packages, tmp_path, capfd):
    import logging

    handlers = logging.getLogger().handlers[:]
    export_package(tiny_checkpoint, tmp_path / "again", "int8", "finetuned_model")
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    for path in sorted((packages / "int8").iterdir()):
        again = (tmp_path / "again" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest(), path.name
        assert str(tmp_path).encode() not in again


def test_what_cannot_be_run_is_refused_by_name(packages, tmp_path):
    with pytest.raises(UserError, match="not a model package"):
        OnnxModel(tmp_path)
    package = OnnxModel(packages / "fp32", threads=1)
    cache = package.new_cache(128, 64)
    with pytest.raises(ValueError, match="1 to 64 tokens"):
        package.read_prompts(cache, [[1] * 65])
    with pytest.raises(ValueError, match="the cache has 2"):
        package.read_prompts(cache, [[1, 2]] * 3)
    with pytest.raises(ValueError, match="do not fit into 64"):
        package.read_chunk(cache, 0, 60, [1] * 6, last=True)
    with pytest.raises(ValueError, match="full"):
        package.decode(cache, np.array([3]), np.array([64]))
    with pytest.raises(ValueError, match="two rows of 128"):
        package.new_cache(128, 128)
    for path in (packages / "fp32").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 300 if path.name == "model.onnx" else None])
    with pytest.raises(UserError, match="cannot be loaded"):
        OnnxModel(tmp_path)
