"""`llm-assets doctor`: is this machine, and this state folder, in order? Every failure says how to mend it."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.recipe import Recipe

NEEDED_DISK = 3 * 2**30
NEEDED_MEMORY = 4 * 2**30


@dataclass(frozen=True)
class Finding:
    """ok: False is a failure, None a remark. fix: what to do about it."""

    what: str
    ok: bool | None
    detail: str
    fix: str = ""


def examine(recipe: Recipe, home: Path, ui_port: int) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    yield _disk(home)
    yield _memory()
    yield _writable(home)
    yield _port(ui_port, "the Dagster UI", "llm-assets up --port N")
    if recipe.store.kind == "lakefs":
        from resources.lakefs_diagnosis import diagnose

        findings = [Finding("lakeFS", *diagnosis) for diagnosis in diagnose(recipe.store, home)]
        yield from findings
    else:
        findings = [Finding("store", True, "embedded")]
    if any(finding.ok for finding in findings):  # it can be read
        yield from _guarded("store", lambda: _store(home))
    yield from _guarded("endpoint", lambda: _endpoint(recipe, home))
    if recipe.serving.backend:
        yield from _guarded("backend", lambda: _backend(recipe))


def _guarded(what: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except UserError as error:
        yield Finding(what, False, str(error))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info[:2] == (3, 11), version, "install Python 3.11 and run `make setup` again")


def _packages() -> Finding:
    from packaging.requirements import Requirement

    wrong = []
    for text in importlib.metadata.requires("llm-assets") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, wanted {requirement.specifier}")
    return Finding("packages", not wrong, "; ".join(wrong) or "as pinned", "run `rm -rf .venv && make setup`")


def _disk(home: Path) -> Finding:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        free >= NEEDED_DISK,
        f"{free / 2**30:.1f} GiB free",
        f"free {NEEDED_DISK >> 30} GiB where {folder} lies",
    )


def _memory() -> Finding:
    import psutil

    available = psutil.virtual_memory().available
    ok = True if available >= NEEDED_MEMORY else None
    return Finding("memory", ok, f"{available / 2**30:.1f} GiB available", "close other programs: training may swap")


def _writable(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding(
            "state folder",
            False,
            f"{home}: {error.strerror}",
            "set LLM_ASSETS_HOME to a folder you can write",
        )
    return Finding("state folder", True, str(home))


def _port(port: int, what: str, option: str) -> Finding:
    from llm_assets.services import require_free_port

    try:
        require_free_port(port, what, option)
    except UserError:
        return Finding(
            f"port {port}",
            None,
            f"in use (by a running `llm-assets up`, or something else: {what} needs it)",
            f"stop what uses it, or choose another port: {option}",
        )
    return Finding(f"port {port}", True, f"free for {what}")


def _store(home: Path) -> Finding:
    from resources.store import MAIN
    from resources.workspace import open_store

    store = open_store(home)
    heads = store.heads(MAIN)
    for version in heads.values():
        store.checkout(version)
    return Finding("store", True, f"{len(heads)} artifacts on main, every file as recorded")


def _endpoint(recipe: Recipe, home: Path) -> Finding:
    from resources.endpoint import endpoint_of

    status = endpoint_of(recipe, home).status()
    if status["running"] and status["healthy"]:
        return Finding("endpoint", True, f"{status['url']} serves {status['digest']}")
    if status["running"]:
        return Finding(
            "endpoint",
            False,
            f"process {status['pid']} runs, but /health does not answer",
            f"look into {home / 'endpoint'} for its log; `llm-assets down` stops it",
        )
    return Finding("endpoint", None, "not running", "`llm-assets up` starts it")


def _backend(recipe: Recipe) -> Finding:
    from llm_assets.serving.upstream import models, place_of
    from llm_assets.serving.vllm import require_program

    backend = recipe.serving.backend
    assert backend
    if backend.vllm:
        return Finding("backend", True, f"{require_program()} is there")
    names = models(place_of(backend, ""))
    return Finding("backend", bool(names), f"{backend.url} has {', '.join(names) or 'no model'}")
