"""Docstrings of installed packages: real text on any machine, offline. Parsed with `ast`; nothing is imported."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.sources import docstrings
from llm_assets.data.sources.config import InstalledPackages
from llm_assets.data.sources.found import Found
from llm_assets.errors import UserError

STDLIB = "stdlib"


def read_packages(source: InstalledPackages, progress: Progress = no_progress) -> Iterator[Found]:
    """One document per docstring, in the order of packages, files and lines."""
    for package in source.packages:
        package_folder(package)  # all of them are there before the first is read
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(lambda package: _docstrings(package, source.max_per_package), source.packages)
        for done, (package, docstrings_found) in enumerate(zip(source.packages, found, strict=True), 1):
            if not docstrings_found:
                raise UserError(
                    f"data.sources: package {package!r} holds no docstrings to learn from (it may be compiled); "
                    "leave it out of `packages`"
                )
            licence = _licence(package)
            for path, name, text in docstrings_found:
                uri = f"python://{package}/{path}#{name}" if name else f"python://{package}/{path}"
                yield Found(uri, text, package, source=f"python:{package}", licence=licence)
            progress(done, len(source.packages), package)


def packages_state(source: InstalledPackages) -> str:
    """Versions of the packages: what their docstrings depend on."""
    return ",".join(f"{package}={_version(package)}" for package in source.packages)


def package_folder(package: str) -> Path:
    """Where a package's sources lie, found without importing it."""
    if package == STDLIB:
        return Path(sysconfig.get_paths()["stdlib"])
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or "." in package:
        raise UserError(
            f"data.sources: package {package!r} is not installed (or is not an import name); install it, "
            "or leave it out of `packages`"
        )
    if not spec.submodule_search_locations:
        raise UserError(f"data.sources: {package!r} is a single module, not a package; leave it out of `packages`")
    return Path(next(iter(spec.submodule_search_locations)))


def _docstrings(package: str, limit: int) -> list[tuple[str, str, str]]:
    """(path, name, text), read by a process of its own (-I: it imports nothing but the standard library)."""
    command = [sys.executable, "-I", docstrings.__file__, str(package_folder(package)), package, str(limit)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"reading the docstrings of {package} failed:\n{done.stderr.decode(errors='replace')}")
    return [(path, name, text) for path, name, text in json.loads(done.stdout)]


@cache
def _distribution(package: str) -> Any:
    from importlib import metadata

    for name in (package, package.replace("_", "-")):
        try:
            return metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
    names = metadata.packages_distributions().get(package, [])  # reads every distribution: the last resort
    return metadata.distribution(names[0]) if names else None


def _version(package: str) -> str:
    if package == STDLIB:
        return ".".join(str(part) for part in sys.version_info[:3])
    package_folder(package)  # says so when it is not installed
    found = _distribution(package)
    return str(found.version) if found else "unknown"


def _licence(package: str) -> str:
    if package == STDLIB:
        return "PSF-2.0"
    found = _distribution(package)
    if found is None:
        return "unknown"
    expression = found.metadata.get("License-Expression")
    if expression:
        return str(expression)
    for classifier in found.metadata.get_all("Classifier") or []:
        if classifier.startswith("License ::"):
            return str(classifier.rpartition(":: ")[2])
    text = str(found.metadata.get("License") or "").strip()
    return text.splitlines()[0][:80] if text else "unknown"
