"""An encoder served by a real process: OpenAI's embeddings, vLLM's classification, the numbers of transformers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from copy import deepcopy

import httpx
import numpy as np
import openai
import pytest
import tiny_encoder
import tiny_package
from test_admission import crowd, head_alone
from test_soak import gauge, start
from waiting import until

from llm_assets.compression.export_encoder import export_encoder
from llm_assets.inference.encoder_model import EncoderModel
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.encoder_engine import EncoderEngine
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import ServedEncoder
from llm_assets.serving.protocol import ApiError

TEXTS = [text for text, _ in tiny_package.ROWS]
LONG = "join rows and columns of two tables on a key " * 6


@pytest.fixture(scope="module")
def package(encoders):
    return encoders["good"]


@pytest.fixture(scope="module")
def checkpoint(package):
    return package.with_name("good-checkpoint")


@pytest.fixture
def client(live_encoder):
    with openai.OpenAI(base_url=f"{live_encoder.url}/v1", api_key=live_encoder.api_key(), max_retries=0) as made:
        yield made


@pytest.fixture
def http(live_encoder):
    headers = {"authorization": f"Bearer {live_encoder.api_key()}"}
    with httpx.Client(base_url=live_encoder.url, headers=headers, timeout=20) as made:
        yield made


@pytest.fixture(scope="module")
def truth(checkpoint):
    """text -> (probabilities, embedding), as transformers computes them, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def compute(text):
        with torch.inference_mode():
            inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            found = model(**inputs, output_hidden_states=True)
            mean = found.hidden_states[-1][0].mean(dim=0)
            return found.logits[0].softmax(dim=0).numpy(), (mean / mean.norm()).numpy()

    return {text: compute(text) for text in [*TEXTS, LONG]}


def test_classes_are_those_of_transformers(http, truth):
    reply = http.post("/v1/classify", json={"model": "llm-assets", "input": TEXTS}).json()
    assert [row["label"] for row in reply["data"]] == [label for _, label in tiny_package.ROWS]
    assert [row["index"] for row in reply["data"]] == list(range(len(TEXTS)))
    for text, row in zip(TEXTS, reply["data"], strict=True):
        assert np.abs(np.array(row["probs"]) - truth[text][0]).max() < 1e-4
        assert row["num_classes"] == 3
    assert reply["id"].startswith("classify-") and reply["object"] == "list" and reply["model"] == "llm-assets"
    assert reply["system_fingerprint"] == "encoder-digest" and reply["usage"]["completion_tokens"] == 0


def test_embeddings_through_the_official_client(client, truth):
    packed = client.embeddings.create(model="llm-assets", input=[*TEXTS, LONG])  # the client asks for base64 itself
    plain = client.embeddings.create(model="llm-assets", input=[*TEXTS, LONG], encoding_format="float")
    assert packed.usage == plain.usage and packed.usage.prompt_tokens == packed.usage.total_tokens > 100
    for text, one, other in zip([*TEXTS, LONG], packed.data, plain.data, strict=True):
        assert np.abs(np.array(one.embedding) - truth[text][1]).max() < 1e-4
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
    single = client.embeddings.create(model="llm-assets", input=TEXTS[0], dimensions=64)
    assert len(single.data) == 1 and single.data[0].object == "embedding"


def test_the_async_client_embeds_alike(live_encoder, client):
    url, key = f"{live_encoder.url}/v1", live_encoder.api_key()

    async def ask(**more):
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as many:
            return await many.embeddings.create(model="llm-assets", input=TEXTS, **more)

    expected = client.embeddings.create(model="llm-assets", input=TEXTS)
    for more in ({}, {"encoding_format": "float"}, {"dimensions": 64}, {"user": "me"}):
        found = asyncio.run(ask(**more))
        for one, other in zip(found.data, expected.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


def test_token_ids_stand_for_their_text(client, package):
    tokenizer = EncoderModel(package, 1).tokenizer
    ids = [tokenizer.encode(text).ids for text in TEXTS[:2]]
    by_text = client.embeddings.create(model="llm-assets", input=TEXTS[:2])
    assert client.embeddings.create(model="llm-assets", input=ids).data == by_text.data
    assert client.embeddings.create(model="llm-assets", input=ids[0]).data[0] == by_text.data[0]


def test_a_text_has_one_result_whatever_shares_its_batch(live_encoder, client):
    alone = {text: client.embeddings.create(model="llm-assets", input=text).data[0].embedding for text in TEXTS}

    async def crowd():
        async with openai.AsyncOpenAI(base_url=f"{live_encoder.url}/v1", api_key=live_encoder.api_key()) as many:
            jobs = [
                many.embeddings.create(model="llm-assets", input=[*TEXTS[at % 7 :], LONG, *TEXTS[: at % 7]])
                for at in range(20)
            ]
            return await asyncio.gather(*jobs)

    for at, reply in enumerate(asyncio.run(crowd())):
        order = [*TEXTS[at % 7 :], LONG, *TEXTS[: at % 7]]
        for text, row in zip(order, reply.data, strict=True):
            if text != LONG:
                assert np.abs(np.array(row.embedding) - alone[text]).max() < 1e-6


@pytest.mark.parametrize("family", tiny_encoder.FAMILIES)
def test_every_family_and_precision_keeps_the_decisions(family, tmp_path, monkeypatch):
    from llm_assets.compression import export_encoder as exporting
    from llm_assets.compression.export import model_bytes
    from llm_assets.compression.export_encoder import parity

    checkpoint = tiny_encoder.train(tmp_path / "checkpoint", tiny_encoder.SAME, family)
    trace, traced = exporting._graph, []

    def traced_once(model):
        """int8 is made of the same graph as fp32, and to trace it takes nearly all of an export's time."""
        if not traced:
            traced.append(trace(model))
        return deepcopy(traced[0])

    monkeypatch.setattr(exporting, "_graph", traced_once)
    for precision, allowed in (("fp32", 1e-4), ("int8", 0.05)):
        export_encoder(checkpoint, tmp_path / precision, precision, "finetuned_model")
        model = EncoderModel(tmp_path / precision, 1)
        ids = [model.tokenizer.encode(text).ids for text in [*TEXTS, LONG]]
        found = parity(checkpoint, tmp_path / precision, ids)
        assert found.probability < allowed and found.cosine > 1 - allowed and found.agreement == 1, found
        together, row = model.encode(ids[:12]), model.encode([ids[4]])
        assert [model.labels[at] for at in together.probabilities.argmax(axis=1)] == [
            label for _, label in tiny_package.ROWS
        ]
        assert np.abs(together.embeddings[4] - row.embeddings[0]).max() < (1e-6 if precision == "fp32" else 1e-2)
    assert model_bytes(tmp_path / "int8") < 0.5 * model_bytes(tmp_path / "fp32")


def test_equal_checkpoints_give_equal_bytes(checkpoint, package, tmp_path):
    from llm_assets.serving.package import folder_hash

    export_encoder(checkpoint, tmp_path / "fp32", "fp32", "finetuned_model")
    assert folder_hash(tmp_path / "fp32") == folder_hash(package)
    assert b"site-packages" not in (package / "model.onnx").read_bytes()


def test_a_plain_encoder_embeds_and_does_not_classify(checkpoint, endpoint, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "plain")
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(tmp_path / "plain")
    (tmp_path / "plain" / "1_Pooling").mkdir()
    (tmp_path / "plain" / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    written = export_encoder(tmp_path / "plain", tmp_path / "package", "fp32", "finetuned_model")
    assert written["labels"] == [] and written["pooling"] == "cls"
    endpoint.deploy(tmp_path / "package", "plain-digest")
    endpoint.start()
    endpoint.wait_serving("plain-digest")
    with httpx.Client(base_url=endpoint.url, headers={"authorization": f"Bearer {endpoint.api_key()}"}) as http:
        body = {"model": "llm-assets", "input": TEXTS[0]}
        assert http.post("/v1/embeddings", json=body).status_code == 200
        refused = http.post("/v1/classify", json=body)
        assert refused.status_code == 400 and "no classes" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": ["a", ""]}, "input", "invalid_value"),
        ({"input": ["a", 5]}, "input", "invalid_value"),
        ({"input": 5}, "input", "invalid_value"),
        ({"input": [[5, "a"]]}, "input", "invalid_value"),
        ({"input": [True]}, "input", "invalid_value"),
        ({"input": [10**30]}, "input", "invalid_value"),
        ({"input": [-1]}, "input", "invalid_value"),
        ({"input": ["a"] * 513}, "input", None),
        ({"input": "word " * 200}, "input", "context_length_exceeded"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"model": "other"}, "model", "model_not_found"),
        ({"dimensions": 8}, "dimensions", "unsupported_parameter"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"surprise": 1}, "surprise", "unknown_parameter"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(http, extra, param, code):
    reply = http.post("/v1/embeddings", json={"model": "llm-assets", "input": "read a csv file"} | extra)
    assert reply.status_code == (404 if code == "model_not_found" else 400), reply.text
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, code), error
    assert reply.headers["x-request-id"]


def test_chat_is_refused_with_the_models_name(client, http):
    with pytest.raises(openai.BadRequestError, match="'llm-assets' cannot generate text: use /v1/embeddings"):
        client.chat.completions.create(model="llm-assets", messages=[{"role": "user", "content": "hello"}])
    described = client.models.retrieve("llm-assets").model_dump()
    assert described["labels"] == list(tiny_package.LABELS) and described["context"] == 128
    assert http.get("/health").json()["digest"] == "encoder-digest"


def test_a_generator_refuses_to_embed(live):
    headers = {"authorization": f"Bearer {live.api_key()}"}
    for path in ("embeddings", "classify"):
        refused = httpx.post(f"{live.url}/v1/{path}", headers=headers, json={"model": "llm-assets", "input": "hello"})
        assert refused.status_code == 400 and "cannot embed or classify" in refused.json()["error"]["message"]


def test_traffic_and_feedback_of_a_classification(http, live_encoder):
    from llm_assets.serving.traffic import read_traffic

    reply = http.post("/v1/classify", json={"model": "llm-assets", "input": TEXTS[0]}).json()
    assert http.post("/v1/feedback", json={"id": reply["id"], "correction": "web"}).status_code == 200
    row = read_traffic(live_encoder.home).set_index("id").loc[reply["id"]]
    assert (row["text"], row["reply"], row["correction"], row["digest"]) == (
        TEXTS[0], "arrays", "web", "encoder-digest",
    )  # fmt: skip


def test_swaps_under_load_never_mix_two_models(endpoint, encoders):
    """Each reply's digest is that of the weights that produced it, and no request fails."""
    expected = {
        "good": [label for _, label in tiny_package.ROWS],
        "worse": [tiny_encoder.TURNED[label] for _, label in tiny_package.ROWS],
    }
    endpoint.deploy(encoders["good"], "good")
    endpoint.start()
    endpoint.wait_serving("good")
    seen, over = [], threading.Event()

    def load():
        headers = {"authorization": f"Bearer {endpoint.api_key()}"}
        with httpx.Client(base_url=endpoint.url, headers=headers, timeout=20) as http:
            while not over.is_set():
                seen.append(http.post("/v1/classify", json={"model": "llm-assets", "input": TEXTS}))

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        for digest in ("worse", "good", "worse", "good"):
            endpoint.deploy(encoders[digest], digest)
            endpoint.wait_serving(digest)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert {reply.status_code for reply in seen} == {200}
    replies = [reply.json() for reply in seen]
    assert {reply["system_fingerprint"] for reply in replies} == set(expected)
    for reply in replies:
        assert [row["label"] for row in reply["data"]] == expected[reply["system_fingerprint"]]


class Gated:
    """A real model that starts each batch when it is told to."""

    def __init__(self, package):
        self.model, self.gate, self.batches = EncoderModel(package, 1), threading.Semaphore(0), []

    def width(self, tokens):
        return self.model.width(tokens)

    def encode(self, batch):
        self.gate.acquire()
        self.batches.append([len(ids) for ids in batch])
        return self.model.encode(batch)


@pytest.fixture
def gated(package):
    """An engine with little room, and the package whose batches the test lets go."""
    settings = ServingConfig.model_validate({"encoder": {"batch_tokens": 64, "queue_limit": 12}})
    model = Gated(package)
    engine = EncoderEngine(settings, Metrics())
    yield engine, ServedEncoder("gated", model, 0), model
    for _ in range(100):
        model.gate.release()
    engine.close()


def busy(engine, served, model):
    """Keep the engine's thread in a batch, so that what comes now waits."""
    first = engine.submit(served, [[2, 3]], time.monotonic() + 60)
    until(lambda: not engine._waiting, "the engine has taken it")
    return first


def test_batches_are_of_one_width_oldest_first_and_bounded(gated):
    engine, served, model = gated
    first = busy(engine, served, model)
    futures = [
        engine.submit(served, [[2] * size for size in sizes], time.monotonic() + 60)
        for sizes in ((5, 20), (7, 3, 100), (23,))
    ]
    for _ in range(5):
        model.gate.release()
    results = [future.result(timeout=20) for future in [first, *futures]]
    assert model.batches == [[2], [5, 7, 3], [20, 23], [100]]
    assert [len(found.embeddings) for found in results] == [1, 2, 3, 1]
    again = served.model.model.encode([[2] * 7])
    assert np.abs(results[2].embeddings[0] - again.embeddings[0]).max() < 1e-6


def test_a_full_queue_is_429_and_a_late_text_504(gated):
    engine, served, model = gated
    first = busy(engine, served, model)
    late = engine.submit(served, [[2, 3]] * 10, time.monotonic() - 1)
    with pytest.raises(ApiError) as full:
        engine.submit(served, [[2, 3]] * 3, time.monotonic() + 60)
    assert full.value.status == 429 and int(full.value.headers["retry-after"]) >= 1
    model.gate.release()
    assert len(first.result(timeout=20).embeddings) == 1
    with pytest.raises(ApiError) as missed:
        late.result(timeout=20)
    assert missed.value.status == 504 and model.batches == [[2]]


def test_what_texts_wait_for_decides_who_is_taken(gated):
    """Refused is who would be late because of what waits, and, unread, who finds no room for as many texts as usual."""
    engine, served, model = gated
    for _ in range(20):
        model.gate.release()
    known = engine.submit(served, [[2] * 64] * 12, time.monotonic() + 60)
    known.result(timeout=20)
    assert engine.saturated(60) is None
    first = busy(engine, served, model)
    waits = engine.submit(served, [[2] * 64] * 4, time.monotonic() + 60)
    with pytest.raises(ApiError, match="all the work") as late:
        engine.submit(served, [[2] * 64], time.monotonic() + 1e-6)
    assert late.value.status == 429 and late.value.code == "queue_full"
    assert engine.saturated(60) is None and engine.saturated(1e-6) >= 1
    engine.submit(served, [[2, 3]] * 8, time.monotonic() + 60)
    assert engine.saturated(60) >= 1, "the queue is full"
    for _ in range(20):
        model.gate.release()
    assert len(first.result(timeout=20).embeddings) == 1 and len(waits.result(timeout=20).embeddings) == 4


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/classify"])
def test_a_full_server_refuses_texts_it_has_not_read(endpoint, package, path):
    full = start(endpoint, package, encoder={"queue_limit": 4, "batch_tokens": 64})
    with crowd(full, path, {"model": "llm-assets", "input": [LONG] * 400}, clients=4) as answers:
        told = next(filter(None, (head_alone(full, f"Bearer {full.api_key()}", path) for _ in range(200))))
    status, headers, body = told
    error = json.loads(body)["error"]
    assert status == 429 and headers["x-request-id"] == "mine" and int(headers["retry-after"]) >= 1
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert gauge(full, "vllm:admission_rejections_total") == statuses.count(429) + 1
    other = head_alone(full, f"Bearer {full.api_key()}")
    assert other is None, "completions are another engine's: this one is read, and told that an encoder is served"


def test_a_cancelled_request_leaves_the_queue(gated):
    engine, served, model = gated
    first = busy(engine, served, model)
    gone, kept = (engine.submit(served, [[2, 3, token]] * 2, time.monotonic() + 60) for token in (4, 5))
    assert gone.cancel()
    model.gate.release()
    model.gate.release()
    assert len(first.result(timeout=20).embeddings) == 1 and len(kept.result(timeout=20).embeddings) == 2
    assert model.batches == [[2], [3, 3]]
