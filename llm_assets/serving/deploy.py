"""Deployment: judge the candidate, serve the better package, and ask the live endpoint one real question."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from llm_assets.artifacts import Progress, Summary, no_progress, write_json
from llm_assets.errors import UserError
from llm_assets.serving.config import PromotionConfig
from llm_assets.serving.promotion import judge, test_rows

DEPLOYMENT = "deployment.json"


class Endpoint(Protocol):
    """What deployment needs of `resources.endpoint`."""

    def current(self) -> dict[str, Any] | None: ...
    def deploy(self, package: Path, digest: str) -> None: ...
    def start(self) -> None: ...
    def point_at(self, pointer: dict[str, Any] | None) -> None: ...
    def wait_serving(self, digest: str) -> None: ...
    def withdrawn(self) -> set[str]: ...
    def ask(self, text: str) -> str: ...


def deploy_candidate(
    endpoint: Endpoint,
    *,
    candidate: Path,
    digest: str,
    documents: Path,
    out: Path,
    promotion: PromotionConfig,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Serve `candidate` if it is at least as good as what is being served, and people have not gone back from it; write
    `deployment.json` into `out`.

    Raises UserError when the endpoint cannot be started, does not take the package or does not answer.
    """
    current = endpoint.current()
    champion = Path(current["package"]) if current else None
    rows = test_rows(documents, promotion.max_rows)
    verdict = judge(
        candidate,
        champion,
        rows,
        tolerance=promotion.tolerance,
        threads=threads,
        same=bool(current and current["digest"] == digest),
        withdrawn=digest in endpoint.withdrawn(),
        champion_withdrawn=bool(current and current["digest"] in endpoint.withdrawn()),
        progress=progress,
    )
    serving = digest if verdict.decision == "deploy" else str(current["digest"]) if current else digest
    endpoint.start()
    text, label = rows[0]
    try:
        if verdict.decision == "deploy":
            endpoint.deploy(candidate, digest)
        endpoint.wait_serving(serving)
        answer = endpoint.ask(text)
        if not answer.strip():
            raise UserError(f"the endpoint serves {serving}, but gave an empty answer to a test document")
    except BaseException:
        endpoint.point_at(current)  # whatever went wrong, what was serving goes on serving
        raise
    record = {
        "digest": serving,
        "candidate": digest,
        "decision": verdict.decision,
        "accuracy": verdict.challenger,
        "champion_accuracy": verdict.champion,
        "rows": verdict.rows,
        "tolerance": promotion.tolerance,
    }
    write_json(record, out / DEPLOYMENT)
    metrics: dict[str, Any] = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "digest": serving,
        "accuracy": verdict.challenger,
        "test_rows": verdict.rows,
        "answered": True,
    }
    bars = {"challenger": verdict.challenger}
    if verdict.champion is not None:
        metrics |= {"champion_accuracy": verdict.champion, "gain": verdict.challenger - verdict.champion}
        bars["champion"] = verdict.champion
    decided = "Deployed" if verdict.decision == "deploy" else "Kept the champion"
    return Summary(
        metrics=metrics,
        bars={"Accuracy on the same test rows": bars},
        samples=[{"asked": text, "expected": label, "answered": answer}],
        note=f"{decided}: {verdict.reason}.",
    )
