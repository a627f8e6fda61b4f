"""The engine by itself, on real packages: what a row gets depends on nothing but the row."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from waiting import until

from llm_assets.compression.export import export_package
from llm_assets.inference.onnx_model import OnnxModel
from llm_assets.serving import pace
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.engine import Engine, deliver_here
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import Served
from llm_assets.serving.prefix_cache import PrefixCache
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.rows import Piece, Row
from llm_assets.serving.sampling import Sampling

CONTEXT = 512


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, packages):
    """A Llama of random weights with a context of 512 tokens, so that its replies differ with every bit."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(11)
    folder = tmp_path_factory.mktemp("random") / "checkpoint"
    config = LlamaConfig(
        vocab_size=400, hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True, initializer_range=0.3,
        eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(packages["good"].parent / "good-checkpoint" / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["fp32", "int8", "int4"])
def served(request, checkpoint, tmp_path_factory):
    return load(checkpoint, tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def exact(checkpoint, tmp_path_factory):
    return load(checkpoint, tmp_path_factory.mktemp("exact"), "fp32")


def load(checkpoint, folder, precision, digest="digest") -> Served:
    export_package(checkpoint, folder, precision, "aligned_model")
    return Served(digest, OnnxModel(folder, threads=2), {}, 0)


class Watched(Row):
    """A row that remembers its tokens."""

    def take(self, tokens):
        super().take(tokens)
        self.tokens += tokens
        self.order += [self] * len(tokens)

    def choose(self, likeliest, logits, hold=False):
        piece = super().choose(likeliest, logits, hold)
        self.tokens.append(self.token)
        self.order.append(self)  # of all rows of the engine
        return piece


class World:
    """An engine, and rows that can be waited for."""

    def __init__(self, **settings) -> None:
        self.metrics = Metrics()
        self.engine = Engine(ServingConfig(**{"deadline_seconds": 3600, **settings}), self.metrics)
        self.order: list[Row] = []

    def row(self, served, prompt, sampling, index=0, deadline=None) -> Watched:
        ended = threading.Event()

        def emit(event):
            row.events.append(event)
            if isinstance(event, ApiError) or event.finish:
                ended.set()

        row = Watched(served, prompt, sampling, index, deadline or time.monotonic() + 3600, emit)
        row.events, row.tokens, row.ended, row.order = [], [], ended, self.order
        return row

    def run(self, *rows: Watched) -> list[list[int]]:
        for row in rows:
            self.engine.submit([row])
        for row in rows:
            assert row.ended.wait(60)
        return [row.tokens for row in rows]

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"model_name": "llm-assets", "engine": "0"})


@pytest.fixture
def world(request):
    made = World(**getattr(request, "param", {}))
    yield made
    made.engine.close()


def prompts(count, seed, low=3, high=200):
    random = np.random.default_rng(seed)
    return [random.integers(5, 400, int(random.integers(low, high))).tolist() for _ in range(count)]


def test_greedy_replies_are_those_of_transformers_generate(world, exact, checkpoint):
    """200 prompts of 3 to 200 tokens, 16 at a time, in fp32."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(checkpoint, dtype="float32")
    asked = prompts(200, 1)
    got = world.run(*(world.row(exact, prompt, Sampling(12, ignore_eos=True)) for prompt in asked[:100]))
    got += world.run(*(world.row(exact, prompt, Sampling(12, ignore_eos=True)) for prompt in asked[100:]))
    for prompt, tokens in zip(asked, got, strict=True):
        with torch.inference_mode():
            expected = model.generate(
                torch.tensor([prompt]), max_new_tokens=12, do_sample=False, suppress_tokens=[1], eos_token_id=None
            )
        assert tokens == expected[0, len(prompt) :].tolist()


def test_a_seeded_reply_is_the_same_whatever_shares_its_batch(world, served):
    """Alone, and among 60 others of all lengths and ways of sampling, with its prompt cached and not."""
    mine = [
        (prompt, Sampling(24, temperature=1.1, top_p=0.95, seed=seed, ignore_eos=True))
        for seed, prompt in enumerate(prompts(12, 2, high=300))
    ]
    alone = [world.run(world.row(served, *row))[0] for row in mine]
    fresh = World(max_batch=9, prefix_cache_mb=0)
    for engine in (world, fresh):
        others = [
            engine.row(served, prompt, Sampling(int(3 + at % 40), temperature=at % 3, top_k=at % 7, seed=None))
            for at, prompt in enumerate(prompts(60, 3, high=300))
        ]
        rows = [engine.row(served, *row) for row in mine]
        mixed = [*others[:20], *rows[:6], *others[20:40], *rows[6:], *others[40:]]
        engine.run(*mixed)
        assert [row.tokens for row in rows] == alone
    assert world.value("vllm:prefix_cache_hits_total") > 0 and fresh.value("vllm:prefix_cache_hits_total") == 0
    fresh.engine.close()


def test_choices_of_one_request_differ_and_repeat(world, exact):
    prompt = prompts(1, 4)[0]
    sampling = Sampling(16, temperature=1.0, seed=5, ignore_eos=True)
    first = world.run(*(world.row(exact, prompt, sampling, index) for index in range(4)))
    assert len({tuple(tokens) for tokens in first}) == 4
    assert world.run(*(world.row(exact, prompt, sampling, index) for index in range(4))) == first


@pytest.mark.parametrize("world", [{"prefill_tokens": 32}], indirect=True)
def test_a_long_prompt_does_not_stall_decoding(world, exact):
    """Between two chunks of a long prompt every running row gets a token."""
    running = world.row(exact, [7, 8, 9], Sampling(200, ignore_eos=True))
    world.engine.submit([running])
    until(lambda: len(running.tokens) >= 2, "the row is decoded")  # one that has only begun would wait
    long = world.row(exact, prompts(1, 5, 320, 321)[0], Sampling(2, ignore_eos=True))
    before = len(running.tokens)
    world.engine.submit([long])
    assert long.ended.wait(60)
    at = world.order.index(long)
    assert world.order[:at].count(running) - before >= 320 // 32 - 1
    assert running.ended.wait(60) and len(running.tokens) == 200


def test_rows_that_come_together_begin_together(world, exact):
    """None is decoded before all have been read, be they more than fit into one call; a bounded number waits."""
    rows = [world.row(exact, prompt, Sampling(20, ignore_eos=True)) for prompt in prompts(10, 10, 150, 200)]
    world.engine.submit(rows)
    assert all(row.ended.wait(60) for row in rows)
    assert {id(row) for row in world.order[:10]} == {id(row) for row in rows}
    small = World(prefill_tokens=32)
    rows = [small.row(exact, prompt, Sampling(20, ignore_eos=True)) for prompt in prompts(10, 10, 150, 200)]
    small.engine.submit(rows)
    assert all(row.ended.wait(60) for row in rows)
    assert len({id(row) for row in small.order[:10]}) < 10
    small.engine.close()


def steps_made(model, monkeypatch) -> list[int]:
    """How many steps each call of the model makes, from now on."""
    steps, decode = [], model.decode_greedily

    def decode_greedily(*given):
        before, logits = decode(*given)
        steps.append(len(before) + 1)
        return before, logits

    monkeypatch.setattr(model, "decode_greedily", decode_greedily)
    return steps


@pytest.mark.parametrize("ways", [[Sampling(250)], [Sampling(250, min_tokens=30), Sampling(40, ignore_eos=True)]])
def test_steps_made_at_once_give_the_same_replies(world, served, monkeypatch, ways):
    """As many at once as there can be, and one at a time; replies that end by the end token, and by their length."""
    asked = [(prompt, ways[at % len(ways)]) for at, prompt in enumerate(prompts(24, 14))]
    steps, found = steps_made(served.model, monkeypatch), []
    for moment in (3600, 0):
        monkeypatch.setattr(pace, "MOMENT", moment)
        steps.clear()
        rows = [world.row(served, *row) for row in asked]
        for row in rows:
            row.streamed = False
        world.engine.submit(rows)
        assert all(row.ended.wait(60) for row in rows)
        assert max(steps) > 20 if moment else max(steps) == 1
        texts = ["".join(event.text for event in row.events) for row in rows]
        found.append([(row.tokens, text, row.events[-1].finish) for row, text in zip(rows, texts, strict=True)])
    assert found[0] == found[1]
    assert {finish for _, _, finish in found[0]} == {"stop", "length"}


@pytest.mark.parametrize(("bound", "most"), [({"ignore_eos": True}, 99), ({"min_tokens": 70}, 69)], ids=str)
def test_a_likely_end_that_may_not_come_stops_no_run_of_steps(world, packages, monkeypatch, bound, most):
    """A model that knows when it has said enough, of which more is asked; against the sampler, a step at a time."""
    monkeypatch.setattr(pace, "MOMENT", 3600)
    model = OnnxModel(packages["good"], threads=2)
    wordy = Served("digest", model, {}, 0)
    asked = [model.tokenizer.encode(text).ids for text in ("invert a matrix", "read a csv file", "follow a redirect")]
    steps, found = steps_made(model, monkeypatch), []
    for more in (bound, bound | {"logit_bias": ((0, 0.0),)}, {}):
        rows = [world.row(wordy, prompt, Sampling(100, **more)) for prompt in asked]
        for row in rows:
            row.streamed = False
        steps.clear()
        world.engine.submit(rows)
        assert all(row.ended.wait(60) for row in rows)
        found.append(([row.tokens for row in rows], max(steps)))
    (tokens, longest), by_sampler, (ended, _) = found
    assert longest == most and by_sampler == (tokens, 1)
    assert all(len(reply) < 20 for reply in ended)  # where the end would have come


def test_who_arrives_while_many_steps_are_made_waits_for_one(world, exact, monkeypatch):
    monkeypatch.setattr(pace, "MOMENT", 3600)
    long, short = (world.row(exact, prompt, Sampling(100, ignore_eos=True)) for prompt in prompts(2, 2))
    long.streamed = short.streamed = False
    made, decode = [], exact.model.decode_greedily

    def decode_greedily(*given):
        if not made:
            world.engine.submit([short])
        found = decode(*given)
        made.append((given[3], len(found[0]) + 1))
        return found

    monkeypatch.setattr(exact.model, "decode_greedily", decode_greedily)
    world.engine.submit([long])
    assert long.ended.wait(60) and short.ended.wait(60)
    assert made[0] == (99, 1) and max(steps for _, steps in made) > 20


def test_one_stream_tells_no_more_pieces_than_eyes_follow(world, exact):
    row = world.row(exact, [5, 6, 7], Sampling(400, ignore_eos=True))
    started = time.monotonic()
    tokens = world.run(row)[0]
    assert len(tokens) == 400 and len(row.events) <= 100 * (time.monotonic() - started) + 3
    assert "".join(event.text for event in row.events) == exact.model.tokenizer.decode(tokens, skip_special_tokens=True)


def test_pieces_come_in_turns_and_none_is_lost(world, exact):
    """A fast model's tokens are told several at a time; a reply that nobody reads while it grows, in two pieces."""
    streams = [world.row(exact, prompt, Sampling(150, ignore_eos=True)) for prompt in prompts(8, 11, 5, 40)]
    whole = world.row(exact, streams[0].prompt, Sampling(150, ignore_eos=True))
    whole.streamed = False
    started = time.monotonic()
    world.run(*streams, whole)
    pieces = sum(len(row.events) for row in streams)
    assert pieces <= 400 * (time.monotonic() - started) + 2 * len(streams) + 8
    for row in (*streams, whole):
        text = "".join(event.text for event in row.events)
        assert text == exact.model.tokenizer.decode(row.tokens, skip_special_tokens=True)
        assert row.events[-1].tokens == 150 and row.events[-1].finish == "length"
    assert len(whole.events) <= 2


def test_a_prefix_is_read_once(world, served):
    shared = prompts(1, 6, 256, 257)[0]
    tails = prompts(4, 7, 5, 40)
    cold = World(prefix_cache_mb=0)
    sampling = Sampling(10, ignore_eos=True)
    expected = cold.run(*(cold.row(served, shared + tail, sampling) for tail in tails))
    cold.engine.close()
    assert world.run(world.row(served, shared + tails[0], sampling)) == expected[:1]
    assert world.value("vllm:prefix_cache_hits_total") == 0
    assert world.run(*(world.row(served, shared + tail, sampling) for tail in tails[1:])) == expected[1:]
    assert world.value("vllm:prefix_cache_hits_total") == 3 * 256
    # A prompt that is cached whole is still answered: its last token is read.
    assert world.run(world.row(served, shared, sampling)) == world.run(world.row(served, shared, sampling))


@pytest.mark.parametrize("world", [{"kv_cache_mb": 1, "max_batch": 64}], indirect=True)
def test_the_cache_takes_the_shape_that_the_rows_need(world, exact):
    """One MiB has room for 341 tokens: the two rows of the whole context that always fit, and many short ones."""
    rows = [world.row(exact, prompt, Sampling(10, ignore_eos=True)) for prompt in prompts(30, 8, 5, 40)]
    rows[10:10] = [world.row(exact, prompt, Sampling(100, ignore_eos=True)) for prompt in prompts(3, 9, 380, 400)]
    got = world.run(*rows)
    big = World()
    assert got == big.run(*(big.row(exact, row.prompt, row.sampling) for row in rows))
    big.engine.close()
    sizes = world.metrics.registry.get_sample_value(
        "llm_assets:batch_size_bucket", {"model_name": "llm-assets", "engine": "0", "le": "2.0"}
    )
    assert 0 < sizes < world.value("llm_assets:batch_size_count")
    assert world.value("vllm:kv_cache_usage_perc") == 0


def test_cancelled_and_late_rows_free_their_slots(world, exact):
    rows = [world.row(exact, prompt, Sampling(400, ignore_eos=True)) for prompt in prompts(20, 10, 20, 60)]
    rows.append(world.row(exact, [5, 6], Sampling(400, ignore_eos=True)))
    for row in rows:
        world.engine.submit([row])
    rows[20].deadline = time.monotonic()  # passes while it waits, however fast the machine is
    world.engine.cancel(rows[:20])
    assert rows[20].ended.wait(60)
    assert rows[20].events[-1].status == 504
    tokens = world.run(world.row(exact, [5, 6, 7], Sampling(5, ignore_eos=True)))
    assert len(tokens[0]) == 5
    assert not any(row.ended.is_set() for row in rows[:20])
    assert world.value("vllm:num_requests_waiting") == 0


def test_rows_end_with_the_package_they_began_with(world, exact, checkpoint, tmp_path):
    other = load(checkpoint, tmp_path / "int8", "int8", "other")
    prompt = prompts(1, 12)[0]
    sampling = Sampling(60, ignore_eos=True)
    expected = [world.run(world.row(package, prompt, sampling))[0] for package in (exact, other)]
    assert expected[0] != expected[1]
    rows = [world.row(package, prompt, sampling) for _ in range(5) for package in (exact, other)]
    assert world.run(*rows) == expected * 5


def test_what_a_package_needs_is_made_before_its_first_row(world, exact, checkpoint, tmp_path):
    other = load(checkpoint, tmp_path / "int8", "int8", "other")
    world.engine.prepare(exact, tmp_path)
    made = world.engine._prepared[1]
    row = world.row(exact, [5] * 20, Sampling(5, ignore_eos=True))
    expected = world.run(row)
    assert world.engine._lanes == {exact: made} and world.engine._prepared is None
    world.engine.prepare(other, tmp_path)
    assert world.run(world.row(exact, [5] * 20, Sampling(5, ignore_eos=True))) == expected
    assert world.engine._prepared[0] is other, "a row of the old package leaves it alone"
    world.run(world.row(other, [5] * 20, Sampling(5)))
    assert list(world.engine._lanes)[-1] is other and world.engine._prepared is None


def test_rows_that_began_apart_are_looked_at_together(world, exact, monkeypatch):
    for name in ("PIECES", "PIECES_OF_ONE"):
        monkeypatch.setattr(pace, name, 4000)  # so that there are many looks, however fast the machine is
    first, second = (world.row(exact, [at] * 20, Sampling(450, ignore_eos=True)) for at in (5, 6))
    together: list[bool] = []

    def deliver(events):
        deliver_here(events)
        if len(first.events) == 1 and not second.queued:
            time.sleep(0.0002)  # between two looks at the first
            second.queued = time.monotonic()
            world.engine.submit([second])
        if second.first_token and not first.ended.is_set():
            together.append(first.looked == second.looked)

    second.queued = 0.0
    world.engine.deliver = deliver
    world.engine.submit([first])
    assert first.ended.wait(60) and second.ended.wait(60)
    assert len(together) >= 6 and all(together[3:])


def test_the_first_token_does_not_wait_until_its_prompt_is_kept(world, exact, monkeypatch):
    order: list[str] = []
    keep = PrefixCache.keep

    def deliver(events):
        order.extend("told" for _ in events)
        deliver_here(events)

    def kept(*given):
        order.append("kept")
        keep(*given)

    monkeypatch.setattr(PrefixCache, "keep", kept)
    world.engine.deliver = deliver
    rows = [world.row(exact, [at] * 40, Sampling(1, ignore_eos=True)) for at in (5, 6)]  # the first is the last
    world.engine.submit(rows)
    assert all(row.ended.wait(60) for row in rows)
    world.run(world.row(exact, [5] * 40 + [7], Sampling(1, ignore_eos=True)))
    until(lambda: order.count("kept") == 3, "all are kept")
    assert order == ["told", "told", "kept", "kept", "told", "kept"]
    assert world.engine._lanes[exact]._prefixes.find([6] * 40).tokens == 32


def test_a_step_that_fails_fails_its_rows_alone(world, exact, checkpoint, tmp_path):
    broken = load(checkpoint, tmp_path / "broken", "fp32", "broken")
    row = world.row(broken, [5] * 20, Sampling(5))
    broken.model._decoder = broken.model._reader = None  # what a package whose memory is gone looks like
    fine = world.row(exact, [5] * 20, Sampling(5, ignore_eos=True))
    world.engine.submit([row])
    assert len(world.run(fine)[0]) == 5
    assert row.ended.wait(60) and row.events[-1].status == 500


@pytest.mark.parametrize("world", [{"queue_limit": 4, "max_batch": 1}], indirect=True)
def test_what_cannot_be_answered_in_time_is_refused_at_once(world, exact):
    rows = [world.row(exact, [5] * 20, Sampling(300, ignore_eos=True)) for _ in range(4)]
    for row in rows:
        world.engine.submit([row])
    with pytest.raises(ApiError, match="all the work") as refused:
        for _ in range(3):
            world.engine.submit([world.row(exact, [5], Sampling(5))])
    assert refused.value.status == 429 and int(refused.value.headers["retry-after"]) >= 1
    world.engine.cancel(rows)
    for _ in range(2):  # so many tokens say how fast it is
        world.run(world.row(exact, [5], Sampling(400, ignore_eos=True)))
    ahead = world.row(exact, [5] * 20, Sampling(400, ignore_eos=True))
    world.engine.submit([ahead])
    with pytest.raises(ApiError, match="all the work"):
        world.engine.submit([world.row(exact, [5], Sampling(400), deadline=time.monotonic() + 0.001)])
    world.engine.cancel([ahead])


def test_pieces_carry_logprobs_and_counts(world, exact):
    row = world.row(exact, prompts(1, 13)[0], Sampling(20, ignore_eos=True, logprobs=3, temperature=0.7, seed=1))
    tokens = world.run(row)[0]
    told = [entry for event in row.events for entry in event.logprobs]
    assert [entry.token for entry in told] == tokens
    assert all(len(entry.top) == 3 and entry.top[0][1] >= entry.logprob for entry in told)
    assert row.events[-1].tokens == 20 and row.events[-1].finish == "length"
    assert isinstance(row.events[0], Piece)
