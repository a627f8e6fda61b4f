"""What a monitoring report is made of: canary probes, a window of traffic, people's feedback, and drift."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llm_assets.artifacts import DOCUMENTS, PACKAGE, Progress, no_progress, read_json, read_table
from llm_assets.monitoring.config import MonitoringConfig
from llm_assets.monitoring.drift import Drift, label_drift, length_drift, word_drift

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_TEXTS = 4000
MIN_DRIFT_TEXTS = 20
PROBE_SECONDS = 10.0


class Endpoint(Protocol):
    """What monitoring needs of `resources.endpoint`."""

    @property
    def url(self) -> str: ...
    def api_key(self) -> str: ...
    def health(self) -> dict[str, Any] | None: ...


@dataclass
class Measured:
    """metrics: flat; one without samples is left out. noise: drift metric -> what chance alone gives it."""

    metrics: dict[str, Any]
    noise: dict[str, float]
    window: pd.DataFrame
    probes: list[dict[str, Any]] = field(default_factory=list)
    per_label: dict[str, float] = field(default_factory=dict)


def measure(
    home: Path,
    endpoint: Endpoint,
    pointer: Mapping[str, Any],
    documents: Path,
    settings: MonitoringConfig,
    *,
    seed: int,
    fallback_baseline: float | None = None,
    progress: Progress = no_progress,
) -> Measured:
    """Measure the package that `pointer` names: only its own replies count, so that a new champion starts
    afresh.

    fallback_baseline: the accuracy it had when it was deployed, for packages that carry no metrics.
    """
    from llm_assets.serving.traffic import read_traffic

    digest, package = str(pointer["digest"]), read_json(Path(pointer["package"]) / PACKAGE)
    health = endpoint.health()
    probes = _probe(endpoint, package, settings.canaries, progress)
    since = datetime.now(UTC) - timedelta(hours=settings.window_hours)
    window = last_requests(read_traffic(home, since, digest), settings.window_requests)
    metrics: dict[str, Any] = {
        "champion": digest,
        "available": int(bool(health and health["ready"] and health["digest"] == digest)),
        "probes": 1 + len(probes),
        "canary_samples": sum(probe["task"] == "route" for probe in probes),
    }
    baseline = _baseline(package.get("metrics") or {}, fallback_baseline)
    if baseline is not None:
        metrics["baseline_accuracy"] = baseline
    metrics |= _canary_metrics(probes) | _traffic_metrics(window)
    feedback = feedback_of(window)
    metrics["feedback_samples"] = len(feedback)
    if len(feedback):
        metrics["feedback_accuracy"] = float(feedback["right"].mean())
    template = (package.get("tasks") or {}).get("route") or {}
    drift_metrics, noise = _drift_metrics(window, documents, int(template.get("max_chars") or 320), seed)
    per_label = {str(label): float(group["right"].mean()) for label, group in feedback.groupby("truth", sort=True)}
    return Measured(metrics | drift_metrics, noise, window, probes, per_label)


def last_requests(traffic: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The last rows of a traffic log, which stand for at most `limit` requests; of a row that would be too many, what
    is left of the limit."""
    after = traffic["count"][::-1].cumsum()[::-1] - traffic["count"]  # requests later than a row's own
    window = traffic[after < limit].reset_index(drop=True)
    window["count"] = window["count"].clip(upper=limit - after[after < limit].reset_index(drop=True))
    return window


def feedback_of(window: pd.DataFrame) -> pd.DataFrame:
    """Route replies that people judged, with `truth` and whether the reply was `right`. A thumb down
    without a correction is a wrong reply of unknown truth."""
    judged = window[(window["task"] == "route") & (window["rating"].notna() | window["correction"].notna())].copy()
    corrected = judged["correction"].notna()
    judged["truth"] = judged["correction"].where(corrected, judged["reply"].where(judged["rating"] == "up", "unknown"))
    judged["right"] = judged["truth"] == judged["reply"]
    return judged


def _probe(endpoint: Endpoint, package: Mapping[str, Any], limit: int, progress: Progress) -> list[dict[str, Any]]:
    """Ask the live endpoint the package's questions with exact answers; one that is not answered counts as wrong."""
    import httpx

    from llm_assets.serving.asking import answer as said_by
    from llm_assets.serving.asking import question
    from llm_assets.serving.guard import PROBE_HEADER

    canary: Sequence[Mapping[str, str]] = package.get("canary") or []
    routes = [item for item in canary if item["task"] == "route"]
    others = [item for item in canary if item["task"] != "route"]
    chosen = [*routes, *others][:limit]
    headers = {"authorization": f"Bearer {endpoint.api_key()}", PROBE_HEADER: "canary"}
    probes: list[dict[str, Any]] = []
    with httpx.Client(base_url=endpoint.url, headers=headers, timeout=PROBE_SECONDS, trust_env=False) as client:
        for item in chosen:
            path, body = question(package, item["task"], item["text"])
            started = time.monotonic()
            try:
                reply = client.post(path, json=body)
                reply.raise_for_status()
                answer, error = said_by(reply.json()), ""
            except httpx.ConnectError as problem:
                return [
                    *probes,
                    *(
                        {**left, "reply": "", "error": str(problem), "right": False, "ms": None}
                        for left in chosen[len(probes) :]
                    ),
                ]
            except (httpx.HTTPError, ValueError, KeyError) as problem:
                answer, error = "", str(problem)
            milliseconds = (time.monotonic() - started) * 1000
            probes.append(
                {
                    **item,
                    "reply": answer,
                    "error": error,
                    "right": answer == item["answer"],
                    "ms": milliseconds,
                }
            )
            progress(len(probes), len(chosen), "canary probes")
    return probes


def _canary_metrics(probes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    metrics = {}
    for task, name in (("route", "canary_accuracy"), ("summarise", "canary_exact_summaries")):
        right = [probe["right"] for probe in probes if probe["task"] == task]
        if right:
            metrics[name] = float(np.mean(right))
    times = [probe["ms"] for probe in probes if probe["ms"] is not None]
    if times:
        metrics |= {f"canary_p{q}_ms": float(np.percentile(times, q)) for q in (50, 95)}
    return metrics


def _traffic_metrics(window: pd.DataFrame) -> dict[str, float]:
    import pandas as pd

    counted = window[window["status"] != 499]  # a client that left says nothing of the server
    failed = counted["status"] >= 429
    requests, errors = int(counted["count"].sum()), int(counted.loc[failed, "count"].sum())
    metrics: dict[str, float] = {
        "requests": requests,
        "errors": errors,
        "corrections": int(window["correction"].notna().sum()),
        "thumbs_up": int((window["rating"] == "up").sum()),
        "thumbs_down": int((window["rating"] == "down").sum()),
    }
    if not len(counted):
        return metrics
    metrics["error_rate"] = errors / requests
    for column, name in (("latency_ms", "latency"), ("ttft_ms", "ttft")):
        times = pd.to_numeric(counted.loc[~failed, column]).dropna()
        if len(times):
            metrics |= {f"{name}_p{q}_ms": float(np.percentile(times, q)) for q in (50, 95, 99)}
    times = pd.to_datetime(counted["at"], format="ISO8601")
    seconds = max((times.max() - times.min()).total_seconds(), 1.0)
    metrics["requests_per_second"] = requests / seconds
    metrics["tokens_per_second"] = float(counted["completion_tokens"].sum()) / seconds
    cached = counted["cached"] == True  # noqa: E712 (a column with None)
    metrics["cache_hit_rate"] = float(counted.loc[cached, "count"].sum()) / requests
    return metrics


def _drift_metrics(
    window: pd.DataFrame, documents: Path, max_chars: int, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Live route texts and predictions against the training split, both cut to what the model reads."""
    from llm_assets.prompts import cut_text

    live = window[(window["task"] == "route") & (window["status"] == 200)]
    metrics: dict[str, float] = {"drift_samples": len(live)}
    if len(live) < MIN_DRIFT_TEXTS:
        return metrics, {}
    table = read_table(documents / DOCUMENTS, columns=["text", "label", "split"]).to_pandas()
    train = table[(table["split"] == "train") & table["label"].notna() & table["text"].notna()]
    if len(train) > REFERENCE_TEXTS:
        train = train.sample(REFERENCE_TEXTS, random_state=seed)
    if not len(train):
        return metrics, {}
    reference = [cut_text(text, max_chars) for text in train["text"]]
    texts = [cut_text(text, max_chars) for text in live["text"]]
    found: dict[str, Drift] = {
        "drift_words": word_drift(reference, texts, seed),
        "drift_length": length_drift(reference, texts, seed),
    }
    metrics |= {name: drift.size for name, drift in found.items()}
    metrics["drift_labels"] = label_drift(train["label"].tolist(), live["reply"].tolist())
    return metrics, {name: drift.noise for name, drift in found.items()}


def _baseline(metrics: Mapping[str, Any], fallback: float | None) -> float | None:
    for name in ("accuracy", "route_accuracy", "test_accuracy"):
        if isinstance(metrics.get(name), int | float):
            return float(metrics[name])
    return fallback
