"""The report and the release candidate, on real variants of a real tiny model."""

from __future__ import annotations

import shutil

import pytest

from llm_assets.alignment.examples import best_templates, split_rows
from llm_assets.artifacts import PACKAGE, REPORT, read_json
from llm_assets.compression.export import export_package, model_bytes
from llm_assets.compression.prune import remove_neurons
from llm_assets.errors import UserError
from llm_assets.evaluation.baseline import baseline_scores
from llm_assets.evaluation.config import BaselineConfig, EvaluationConfig, ReleaseConfig
from llm_assets.evaluation.html import frontier
from llm_assets.evaluation.release import make_release
from llm_assets.evaluation.report import HTML, evaluate
from llm_assets.evaluation.scores import route_scores
from llm_assets.inference import load_generator
from llm_assets.models.llama import load_model, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer

CONFIG = EvaluationConfig(
    test_rows={"route": 24, "summarise": 6},
    validation_rows=20,
    perplexity_rows=8,
    latency_requests=2,
    max_new_tokens=12,
    release=ReleaseConfig(canaries=5, tolerance=0.1, verify_tolerance=0.1),
)


@pytest.fixture(scope="module")
def variants(tiny_checkpoint, tmp_path_factory):
    """A checkpoint, its int8 package and a copy that lost all of its MLP neurons but a few."""
    import torch

    root = tmp_path_factory.mktemp("variants")
    export_package(tiny_checkpoint, root / "quantized", "int8", "aligned_model")
    model = load_model(tiny_checkpoint)
    with torch.no_grad():
        model.model.norm.weight.mul_(-1)  # a variant that answers nonsense
    save_checkpoint(remove_neurons(model, [torch.ones(128)] * 2, 32), load_tokenizer(tiny_checkpoint), root / "broken")
    return {
        "aligned_model": tiny_checkpoint,
        "pruned_model": root / "broken",
        "quantized_model": root / "quantized",
    }


@pytest.fixture(scope="module")
def templates(tiny_inputs):
    return best_templates(tiny_inputs / "optimized")


@pytest.fixture(scope="module")
def report(variants, templates, tiny_inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    summary = evaluate(variants, tiny_inputs / "documents", tiny_inputs / "balanced", templates, out, CONFIG, 7, 1)
    return out, summary


def test_every_variant_is_measured_on_one_split(report, variants):
    content = read_json(report[0] / REPORT)
    assert set(content["variants"]) == set(variants)
    for scores in content["variants"].values():
        assert {"accuracy", "macro_f1", "perplexity", "summary_f1", "summary_rouge_l", "size_mb"} <= set(scores)
        assert sum(label["support"] for label in scores["per_label"].values()) == content["test_rows"]["route"]
    good, broken = content["variants"]["aligned_model"], content["variants"]["pruned_model"]
    assert good["accuracy"] > broken["accuracy"]
    assert good["perplexity"] < broken["perplexity"]
    assert content["baseline"]["accuracy"] > 0.5
    assert report[1].metrics["int8_drop"] <= 0.1
    assert report[1].metrics["aligned_latency_ms"] > 0


def test_the_report_is_the_same_twice_and_holds_no_times(report, variants, templates, tiny_inputs, tmp_path):
    evaluate(variants, tiny_inputs / "documents", tiny_inputs / "balanced", templates, tmp_path, CONFIG, 7, 1)
    for name in (REPORT, HTML):
        assert (tmp_path / name).read_bytes() == (report[0] / name).read_bytes(), name
    assert "latency" not in (report[0] / REPORT).read_text()


def test_the_page_is_self_contained_and_escapes(report):
    from llm_assets.evaluation.html import page

    html = (report[0] / HTML).read_text()
    assert "<svg" in html and "quantized_model" in html
    assert "http" not in html and "<script" not in html
    content = read_json(report[0] / REPORT)
    content["variants"]["aligned_model"]["per_label"]["<b>x</b>"] = {"support": 1, "precision": 0, "recall": 0, "f1": 0}
    assert "<b>x</b>" not in page(content, "baseline")


def test_the_smallest_good_package_is_shipped(report, variants, templates, tiny_inputs, tmp_path):
    out = tmp_path / "release"
    out.mkdir()
    summary = make_release(
        report[0], variants, tiny_inputs / "documents", templates, out, tmp_path / "work", CONFIG, 7, 1
    )
    assert summary.metrics["variant"] == "quantized_model"
    assert "pruned_model routes" in summary.note  # smaller, but it lost too much
    package = read_json(out / PACKAGE)
    assert package["labels"] == ["arrays", "tables", "web"]
    assert set(package["tasks"]) == {"route", "summarise"}
    assert package["metrics"]["accuracy"] == read_json(report[0] / REPORT)["variants"]["quantized_model"]["accuracy"]
    canary_texts = set(split_rows(tiny_inputs / "documents", "canary")["text"].to_pylist())
    assert len(package["canary"]) == 5
    assert {probe["text"] for probe in package["canary"]} <= canary_texts
    assert model_bytes(out) == model_bytes(variants["quantized_model"])
    assert load_generator(out, 1).generate(["<|user|>Which library? Join rows.<|assistant|>"], 8)


def test_a_package_that_lost_accuracy_on_export_is_not_shipped(report, variants, templates, tiny_inputs, tmp_path):
    """The variant's package is broken after it was measured: the next one ships."""
    broken = tmp_path / "broken"
    shutil.copytree(variants["quantized_model"], broken)
    content = (broken / "model.onnx.data").read_bytes()
    half = len(content) // 2
    (broken / "model.onnx.data").write_bytes(content[:half] + bytes(len(content) - half))
    out = tmp_path / "release"
    out.mkdir()
    summary = make_release(
        report[0],
        {**variants, "quantized_model": broken},
        tiny_inputs / "documents",
        templates,
        out,
        tmp_path / "work",
        CONFIG,
        7,
        1,
    )
    assert summary.metrics["variant"] == "aligned_model"
    assert "quantized_model's package routes" in summary.note
    with pytest.raises(UserError, match="no variant is fit to ship"):
        make_release(
            report[0],
            {"quantized_model": broken},
            tiny_inputs / "documents",
            templates,
            out,
            tmp_path / "work2",
            CONFIG,
            7,
            1,
        )


def test_a_release_with_its_checkpoint(report, variants, templates, tiny_inputs, tmp_path):
    """What vLLM is to serve lies in the package; the quantized model has no such weights."""
    from llm_assets.compression.export import export_package

    out = tmp_path / "release"
    out.mkdir()
    config = CONFIG.model_copy(update={"release": CONFIG.release.model_copy(update={"checkpoint": True})})
    summary = make_release(
        report[0], variants, tiny_inputs / "documents", templates, out, tmp_path / "work", config, 7, 1
    )
    assert summary.metrics["variant"] == "aligned_model" and "quantized_model has no checkpoint" in summary.note
    export_package(out / "checkpoint", tmp_path / "again", config.release.precision, "aligned_model")
    assert (tmp_path / "again" / "model.onnx.data").read_bytes() == (out / "model.onnx.data").read_bytes()


def test_route_scores_by_hand():
    scores = route_scores(["a", "a", "b", "c"], ["a", "b", "b", "x"])
    assert scores["accuracy"] == 0.5
    assert scores["per_label"]["a"] == {"support": 2, "recall": 0.5, "precision": 1.0, "f1": 0.6667}
    assert scores["per_label"]["c"]["f1"] == 0
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3, abs=1e-4)
    assert scores["confusions"][0]["count"] == 1


def test_the_baseline_learns_from_originals_only(tiny_inputs):
    train = split_rows(tiny_inputs / "balanced", "train")
    test = split_rows(tiny_inputs / "documents", "test")
    config = BaselineConfig(min_documents=1)
    truth = test["label"].to_pylist()
    scores = baseline_scores(train, test["text"].to_pylist(), truth, config, 7)
    doubled = train.set_column(train.schema.get_field_index("parents"), "parents", [[["x"]] * train.num_rows]).cast(
        train.schema
    )
    import pyarrow as pa

    assert baseline_scores(pa.concat_tables([train, doubled]), test["text"].to_pylist(), truth, config, 7) == scores


def test_the_front_holds_what_nothing_beats():
    points = {"big": (4.0, 0.9), "small": (1.0, 0.8), "worse": (2.0, 0.7), "equal": (5.0, 0.9)}
    assert frontier(points) == ["small", "big"]


def test_an_empty_test_split_is_named(tiny_inputs, templates, tmp_path):
    from llm_assets.artifacts import DOCUMENTS, write_table

    write_table(split_rows(tiny_inputs / "documents", "train"), tmp_path / DOCUMENTS)
    with pytest.raises(UserError, match="test split"):
        evaluate({}, tmp_path, tiny_inputs / "balanced", templates, tmp_path, CONFIG, 7, 1)
