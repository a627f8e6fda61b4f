"""The workload: a closed loop of distinct random prompts, and what is measured of it. Needs the standard library alone,
so that every engine's environment can import it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PROMPT_TOKENS = NEW_TOKENS = 128
FIRST_TOKEN = 5  # ids before it are the tokenizer's special tokens


@dataclass(frozen=True)
class Cell:
    """One measurement: `requests` of them, `concurrency` in flight at any time."""

    concurrency: int
    requests: int
    seed: int = 0

    def prompts(self, vocab: int) -> list[list[int]]:
        """Token ids [requests, PROMPT_TOKENS]; no two cells or requests share a beginning that a cache could use."""
        drawn = random.Random(f"{self.seed}/{self.concurrency}")
        return [[drawn.randrange(FIRST_TOKEN, vocab) for _ in range(PROMPT_TOKENS)] for _ in range(self.requests)]


WARM = Cell(4, 4, seed=1)  # an engine's first requests


@dataclass
class Sample:
    """One request. started: seconds. arrivals: seconds at which each token (or piece of streamed text) arrived. ids or
    text: the tokens, as the engine gives them."""

    started: float
    arrivals: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    text: str = ""
    tokens: int = 0

    def add(self, token: int) -> None:
        self.arrivals.append(time.perf_counter())
        self.ids.append(token)
        self.tokens += 1


def drive_steps(
    prompts: list[list[int]],
    concurrency: int,
    submit: Callable[[int, list[int]], None],
    step: Callable[[], list[tuple[int, int]]],
    end: Callable[[int], None],
    new_tokens: int = NEW_TOKENS,
) -> list[Sample]:
    """The closed loop over an engine in this process that batches by itself. submit(number, prompt) queues a request;
    step() returns (number, token) pairs; end(number) is called after its last of `new_tokens`."""
    samples: dict[int, Sample] = {}
    waiting = iter(enumerate(prompts))

    def start() -> None:
        for number, prompt in waiting:
            samples[number] = Sample(time.perf_counter())
            submit(number, prompt)
            return

    for _ in range(concurrency):
        start()
    while any(sample.tokens < new_tokens for sample in samples.values()):
        for number, token in step():
            samples[number].add(token)
            if samples[number].tokens == new_tokens:
                end(number)
                start()
    return list(samples.values())


def drive_batches(
    prompts: list[list[int]], concurrency: int, generate: Callable[[list[list[int]]], Iterator[list[int]]]
) -> list[Sample]:
    """The closed loop over an engine that decodes one static batch: its clients all come back when a batch ends.
    generate(prompts) yields one token for each prompt, step by step."""
    samples = []
    for at in range(0, len(prompts), concurrency):
        batch = prompts[at : at + concurrency]
        started = time.perf_counter()
        group = [Sample(started) for _ in batch]
        for tokens in generate(batch):
            for sample, token in zip(group, tokens, strict=True):
                sample.add(token)
        samples += group
    return samples


def measure(samples: list[Sample]) -> dict[str, float]:
    """tokens_per_second over the whole window; time to the first token and between tokens, in milliseconds."""
    window = max(sample.arrivals[-1] for sample in samples) - min(sample.started for sample in samples)
    first = [sample.arrivals[0] - sample.started for sample in samples]
    between = [
        later - earlier
        for sample in samples
        for earlier, later in zip(sample.arrivals, sample.arrivals[1:], strict=False)
    ]
    return {
        "tokens_per_second": sum(sample.tokens for sample in samples) / window,
        "ttft_p50_ms": 1000 * quantile(first, 0.5),
        "ttft_p95_ms": 1000 * quantile(first, 0.95),
        "between_p50_ms": 1000 * quantile(between, 0.5),
        "between_p95_ms": 1000 * quantile(between, 0.95),
    }


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
