"""The recipe's `serving` section."""

from __future__ import annotations

from pydantic import Field, model_validator

from llm_assets.config import Section


class PromotionConfig(Section):
    """When a challenger replaces the champion."""

    tolerance: float = Field(
        0.0, ge=0, le=1, description="accuracy a challenger may lose; 0: it must be as good or better"
    )
    max_rows: int = Field(600, ge=1, description="rows of the test split that both are judged on")


class TrafficConfig(Section):
    """How much of the traffic log is kept."""

    file_mb: int = Field(16, ge=1, description="a file of the log is closed, and becomes Parquet, at this size")
    total_mb: int = Field(512, ge=1, description="the oldest files go when all are larger than this")
    days: int = Field(90, ge=1, description="files go when older than this")


class LabellingConfig(Section):
    """The page on which people compare two replies."""

    votes: int = Field(2, ge=1, le=20, description="reviewers a pair is shown to; agreement needs two")
    guidelines: str = Field(
        "Choose the reply you would rather get: right first, then complete, then short.\n"
        "Wrong facts lose to an honest gap. Length alone is no merit.\n"
        "A tie is for replies equally good or equally bad; skip what you cannot judge.",
        max_length=4000,
        description="what reviewers are told, beside every pair",
    )


class EncoderConfig(Section):
    """How texts are embedded and classified, where an encoder is served."""

    batch_tokens: int = Field(2048, ge=64, description="tokens of a batch, padding included; a longer text goes alone")
    max_texts: int = Field(512, ge=1, description="most texts of one request")
    queue_limit: int = Field(2048, ge=1, description="texts that may wait; a request that brings more is told 429")


class SemanticCacheConfig(Section):
    """Replies given again to the same question in other words. Only where the section is there."""

    threshold: float = Field(
        0.85,
        gt=0,
        le=1,
        description="cosine from which two questions may be the same. Of 8,000 customer queries with 77 intents, 0.85 "
        "answers 1.4 % from the cache, 1.8 % of these with the reply to another intent; 0.7: 3.4 %, and 3.3 % of these",
    )
    entries: int = Field(4096, ge=1, description="replies that are remembered")


class VllmConfig(Section):
    """`vllm serve`, started with the endpoint for the checkpoint in the package, and ended with it."""

    gpu_memory: float = Field(
        0.45,
        gt=0,
        le=1,
        description="share of the GPU's memory, or without one of the machine's; below one half, a new model fits "
        "beside the old one",
    )
    arguments: list[str] = Field(
        [],
        description="more arguments of `vllm serve`: [--dtype, float32], [--tensor-parallel-size, '2']; what the "
        "endpoint sets itself stays as it is",
    )


class BackendConfig(Section):
    """Another server that computes the tokens: vLLM, or any with OpenAI's /v1/completions for token ids."""

    url: str | None = Field(
        None, pattern=r"^https?://", description="a running server's address, up to /v1: http://gpu-box:8000/v1"
    )
    vllm: VllmConfig | None = Field(None, description="instead of a running one: vLLM, started on this machine")
    model: str | None = Field(
        None, description="the model's name there; the digest of the package unless said, so that weights never mix"
    )
    api_key_env: str | None = Field(None, description="the environment variable that holds its key")

    @model_validator(mode="after")
    def _one_of_both(self) -> BackendConfig:
        if (self.url is None) == (self.vllm is None):
            raise ValueError("a backend is either 'url', a running server, or 'vllm', one to be started")
        if self.vllm and (self.model or self.api_key_env):
            raise ValueError("'model' and 'api_key_env' are about a running server ('url')")
        return self


class ServingConfig(Section):
    """The endpoint: where it listens, how it batches, and what it refuses."""

    host: str = Field("127.0.0.1", description="interface; loopback unless said otherwise")
    port: int = Field(8400, ge=1, le=65535)
    max_batch: int = Field(16, ge=1, le=256, description="most rows decoded together; fewer where memory is short")
    prefill_tokens: int = Field(
        256, ge=32, multiple_of=32, description="prompt tokens read between two steps of decoding"
    )
    kv_cache_mb: int = Field(512, ge=1, description="memory for keys and values of the rows in flight")
    prefix_cache_mb: int = Field(256, ge=0, description="memory for those of prompts' beginnings, kept for reuse")
    queue_limit: int = Field(128, ge=1, description="rows that may wait; the next one is told 429")
    deadline_seconds: float = Field(
        30.0, gt=0, description="most a request may take, whatever it asks for; then it is told 504"
    )
    max_body_bytes: int = Field(262_144, ge=1024)
    default_max_tokens: int = Field(64, ge=1, description="tokens of a reply when the request does not say")
    max_choices: int = Field(8, ge=1, le=64, description="most choices (n) of one request")
    cache_entries: int = Field(4096, ge=0, description="replies that are remembered: at temperature 0, or with a seed")
    cache_mb: int = Field(64, ge=1, description="most memory of these; log-probabilities of many tokens take much")
    log_prompts: bool = Field(False, description="whether the server's log has prompts and replies")
    drain_seconds: float = Field(10.0, ge=0, description="how long requests may go on once the server is to end")
    start_seconds: float = Field(30.0, gt=0, description="how long a start or a swap may take")
    backend: BackendConfig | None = None
    semantic_cache: SemanticCacheConfig | None = None
    encoder: EncoderConfig = EncoderConfig()
    traffic: TrafficConfig = TrafficConfig()
    labelling: LabellingConfig = LabellingConfig()
    promotion: PromotionConfig = PromotionConfig()
