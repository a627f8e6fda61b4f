"""Prometheus metrics under vLLM's names, so that its dashboards and alert rules read this server too."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
CHOICES = (1, 2, 5, 10, 20)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MODEL, ENGINE = "llm-assets", "0"  # vLLM numbers its engines; here is one
LABELS = ["model_name", "engine"]
CACHE_TIERS = ("exact", "semantic")
REASONS = ("stop", "length", "abort", "error")  # why a request has ended


class Tally:
    """A histogram of what comes with every token: prometheus_client's own takes one value at a time, and twice as
    long for it."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name, self._text, self._bounds = name, text, (*buckets, float("inf"))
        self._counts, self._sum, self._lock = [0] * len(self._bounds), 0.0, threading.Lock()
        registry.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += times
            self._sum += value * times

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=LABELS)
        labels = [floatToGoString(bound) for bound in self._bounds]
        with self._lock:
            counts, total = [float(count) for count in accumulate(self._counts)], self._sum
        family.add_metric([MODEL, ENGINE], list(zip(labels, counts, strict=True)), total)
        yield family


class Metrics:
    """One registry a server; latencies come from the monotonic clock."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, LABELS, registry=self.registry).labels(MODEL, ENGINE)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, LABELS, registry=self.registry).labels(MODEL, ENGINE)

        def histogram(name: str, text: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(name, text, LABELS, buckets=buckets, registry=self.registry).labels(MODEL, ENGINE)

        self.running = gauge("vllm:num_requests_running", "Rows being decoded.")
        self.waiting = gauge("vllm:num_requests_waiting", "Rows waiting for a batch.")
        self.kv_usage = gauge("vllm:kv_cache_usage_perc", "Share of the KV cache that holds tokens, 0 to 1.")
        self.prefix_queries = counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.")
        self.prefix_hits = counter("vllm:prefix_cache_hits", "Prompt tokens found there, and not read again.")
        self.prompt_tokens = counter("vllm:prompt_tokens", "Prompt tokens read.")
        self.generation_tokens = counter("vllm:generation_tokens", "Tokens generated.")
        self.rejected = counter("vllm:admission_rejections", "Requests told 429 because the queue was full.")
        self.ttft = histogram("vllm:time_to_first_token_seconds", "From arrival to the first token.")
        self.inter_token = Tally("vllm:inter_token_latency_seconds", "Between tokens of a row.", SECONDS, self.registry)
        self.e2e = histogram("vllm:e2e_request_latency_seconds", "From arrival to the last token.")
        self.queue_time = histogram("vllm:request_queue_time_seconds", "Waiting for a batch.")
        self.prefill_time = histogram("vllm:request_prefill_time_seconds", "Reading a batch's prompts.")
        self.decode_time = histogram("vllm:request_decode_time_seconds", "From the first token to the last.")
        self.inference_time = histogram("vllm:request_inference_time_seconds", "From the batch to the last token.")
        self.per_token = histogram("vllm:request_time_per_output_token_seconds", "A token after a request's first.")
        self.request_prompt = histogram("vllm:request_prompt_tokens", "Prompt tokens a request.", TOKENS)
        self.request_generation = histogram("vllm:request_generation_tokens", "Generated tokens a request.", TOKENS)
        self.request_longest = histogram(
            "vllm:request_max_num_generation_tokens", "Generated tokens of a request's longest choice.", TOKENS
        )
        self.asked_n = histogram("vllm:request_params_n", "Choices that a request asks for.", CHOICES)
        self.asked_tokens = histogram("vllm:request_params_max_tokens", "Tokens that a choice may have.", TOKENS)
        self.success = Counter(
            "vllm:request_success",
            "Finished requests.",
            [*LABELS, "finished_reason"],
            registry=self.registry,
        )
        for reason in REASONS:  # shown from the start, at 0
            self.success.labels(MODEL, ENGINE, reason)
        self.batch_size = Tally("llm_assets:batch_size", "Rows of a decoding step.", ROWS, self.registry)
        self.cache_hits = Counter(
            "llm_assets:cache_hits", "Replies given from a cache.", ["tier"], registry=self.registry
        )
        self.cache_queries = Counter(
            "llm_assets:cache_queries", "Look-ups in a cache of replies.", ["tier"], registry=self.registry
        )
        for tier in CACHE_TIERS:
            self.cache_hits.labels(tier)
            self.cache_queries.labels(tier)
        self.feedback = Counter(
            "llm_assets:feedback", "Feedback from people.", ["rating", "corrected"], registry=self.registry
        )
        self.votes = Counter("llm_assets:label_votes", "Votes on pairs of replies.", ["choice"], registry=self.registry)
        self.http = Counter(
            "http_requests", "Answered requests.", ["handler", "method", "status"], registry=self.registry
        )
        self.serving = Gauge(
            "llm_assets:model_info",
            "1 for the package being served.",
            ["model_digest"],
            registry=self.registry,
        )

    def serve(self, digest: str) -> None:
        self.serving.clear()
        self.serving.labels(digest).set(1)

    def finished(self, reason: str) -> None:
        self.success.labels(MODEL, ENGINE, reason).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
