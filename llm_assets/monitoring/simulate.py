"""Realistic traffic: people who describe what they look for, and some who say what the right answer was."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, Progress, no_progress, read_json, read_table, write_json
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import openai

    from llm_assets.recipe import Recipe

HELD_OUT = ("test", "canary")
SUMMARISE_SHARE = 0.1
TEXTS_PER_PACKAGE = 1000


@dataclass
class Tally:
    """What has come back so far."""

    right: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    feedback: int = 0
    corrections: int = 0


def simulate(
    home: Path,
    recipe: Recipe,
    n: int,
    *,
    shift: bool = False,
    feedback_share: float = 1.0,
    seed: int = 0,
    concurrency: int = 8,
    documents: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Send `n` requests to the live endpoint and give feedback on a share of the replies; what came of it.

    Without `shift` the texts are held-out ones (test and canary splits) of `documents`, by default of those that
    the package being served was made from; with it, docstrings of `monitoring.shift_packages`, cleaned as the training
    data is. Of these, texts that were sent before are left out while there are enough others: a retrained
    model must not be asked what it was taught word for word (`repeated` counts those that were).

    A reply that is right gets a thumb up; one that is wrong a thumb down and the right answer. An encoder is asked to
    classify, and for no summaries.
    Raises UserError when there is nothing to send, or nobody to send it to.
    """
    from llm_assets.serving.package import is_encoder
    from llm_assets.serving.traffic import read_traffic
    from resources.endpoint import endpoint_of

    endpoint = endpoint_of(recipe, home)
    if endpoint.health() is None:
        raise UserError(f"no endpoint answers at {endpoint.url}. Start it with `llm-assets up`.")
    package, serving = endpoint.package(), (endpoint.current() or {}).get("digest")
    encoder = is_encoder(package)
    if encoder and not package["labels"]:
        raise UserError(f"package {serving}, which is deployed, is an encoder without classes to ask for.")
    texts = shifted_texts(home, recipe) if shift else held_out_texts(documents or documents_of(home, serving))
    seen = set(read_traffic(home)["text"]) if shift else set()
    fresh = [item for item in texts if item[0] not in seen]
    texts = fresh if len(fresh) >= n else texts
    chooser = random.Random(seed)
    requests = [chooser.choice(texts) for _ in range(n)] if n > len(texts) else chooser.sample(texts, n)
    summaries = [chooser.random() < SUMMARISE_SHARE and not encoder for _ in requests]
    judged = [chooser.random() < feedback_share for _ in requests]
    tally = Tally()
    started = time.monotonic()
    asyncio.run(
        _send(
            endpoint.url,
            endpoint.api_key(),
            package,
            requests,
            summaries,
            judged,
            concurrency,
            tally,
            progress,
        )
    )
    elapsed = time.monotonic() - started
    times = sorted(tally.seconds) or [0.0]
    return {
        "requests": n,
        "errors": tally.errors,
        "repeated": sum(text in seen for text, _ in requests),
        "accuracy": sum(tally.right) / len(tally.right) if tally.right else 0.0,
        "route_requests": len(tally.right),
        "feedback": tally.feedback,
        "corrections": tally.corrections,
        "latency_p50_ms": times[len(times) // 2] * 1000,
        "latency_p95_ms": times[int(len(times) * 0.95)] * 1000,
        "requests_per_second": n / elapsed,
    }


def held_out_texts(documents: Path) -> list[tuple[str, str]]:
    """(text, label) of the labelled held-out documents, ordered by id."""
    return _labelled(documents, HELD_OUT)


def shifted_texts(home: Path, recipe: Recipe) -> list[tuple[str, str]]:
    """(text, label) from packages that the training data does not know, through the data stage's own
    functions.
    """
    from llm_assets.data.acquire import acquire_documents
    from llm_assets.data.clean import clean_documents
    from llm_assets.data.config import InstalledPackages
    from llm_assets.data.sources.packages import packages_state

    packages = list(recipe.monitoring.shift_packages)
    if not packages:
        raise UserError(
            f"recipe {recipe.name} names no packages to shift to. List some in monitoring.shift_packages, "
            "e.g. --set 'monitoring.shift_packages=[networkx, dulwich]'."
        )
    source = InstalledPackages(packages=packages, max_per_package=TEXTS_PER_PACKAGE)
    made_from = [packages_state(source), recipe.data.clean.model_dump_json(), recipe.seed]
    known = home / "simulation" / f"shift-{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]}.json"
    if known.is_file():  # reading and cleaning takes seconds; the same packages give the same texts
        return [(text, label) for text, label in read_json(known)]
    with tempfile.TemporaryDirectory(prefix="llm-assets-shift-") as scratch:
        raw, cleaned = Path(scratch) / "raw", Path(scratch) / "cleaned"
        raw.mkdir()
        cleaned.mkdir()
        acquire_documents([source], home, raw)
        clean_documents(raw, cleaned, recipe.data.clean, seed=recipe.seed)
        texts = _labelled(cleaned, None)
    write_json(texts, known)
    return texts


def _labelled(documents: Path, splits: Sequence[str] | None) -> list[tuple[str, str]]:
    table = read_table(documents / DOCUMENTS, columns=["id", "text", "label", "split"]).to_pylist()
    rows = [row for row in table if row["label"] and row["text"] and (splits is None or row["split"] in splits)]
    if not rows:
        raise UserError(f"{documents / DOCUMENTS} has no labelled text to send")
    return [(row["text"], row["label"]) for row in sorted(rows, key=lambda row: row["id"])]


def documents_of(home: Path, digest: str | None) -> Path:
    """The cleaned documents that the package `digest` was made from: their held-out texts are those it was not taught.

    Those on main for a package that the store does not know. Raises UserError when there are none.
    """
    from resources.store import MAIN, lineage
    from resources.workspace import open_store

    store = open_store(home)
    package = next((v for v in store.versions("release_candidate") if v.data_version == digest), None)
    version = (lineage(store, package) if package else store.heads(MAIN)).get("cleaned_documents")
    if version is None:
        raise UserError("cleaned_documents is not on main yet. Run `llm-assets run` first.")
    return store.checkout(version)


async def _send(
    url: str,
    key: str,
    package: Mapping[str, Any],
    requests: Sequence[tuple[str, str]],
    summaries: Sequence[bool],
    judged: Sequence[bool],
    concurrency: int,
    tally: Tally,
    progress: Progress,
) -> None:
    import openai

    room = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=4, timeout=60) as client:

        async def one(at: int) -> None:
            async with room:
                text, label = requests[at]
                await _converse(client, package, text, label, summaries[at], judged[at], tally)
                progress(len(tally.seconds) + tally.errors, len(requests), "requests")

        await asyncio.gather(*(one(at) for at in range(len(requests))))


async def _converse(
    client: openai.AsyncOpenAI,
    package: Mapping[str, Any],
    text: str,
    label: str,
    summary: bool,
    judged: bool,
    tally: Tally,
) -> None:
    import openai

    from llm_assets.serving.asking import answer, question
    from llm_assets.serving.package import ROUTE

    started = time.monotonic()
    path, body = question(package, "summarise" if summary else ROUTE, text)
    try:
        reply: Any = await client.post(path, body=body, cast_to=object)
    except openai.NotFoundError:
        if not summary:
            raise
        await _converse(client, package, text, label, False, judged, tally)  # a recipe without summaries
        return
    except openai.APIError:
        tally.errors += 1
        return
    tally.seconds.append(time.monotonic() - started)
    if summary:
        return
    right = answer(reply) == label
    tally.right.append(right)
    if judged:
        said = {"rating": "up"} if right else {"rating": "down", "correction": label}
        await client.post("/v1/feedback", body={"id": reply["id"], **said}, cast_to=object)
        tally.feedback += 1
        tally.corrections += not right
