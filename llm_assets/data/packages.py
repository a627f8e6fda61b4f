"""Docstrings of installed packages: real text on any machine, offline. Parsed with `ast`; nothing is imported."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from llm_assets.artifacts import Progress
from llm_assets.data.config import InstalledPackages
from llm_assets.data.rows import document_id, text_hash
from llm_assets.errors import UserError

STDLIB = "stdlib"
SKIPPED = {"test", "tests", "testing", "_vendor", "site-packages", "dist-packages", "idlelib", "__pycache__"}


def read_packages(source: InstalledPackages, progress: Progress) -> list[dict[str, Any]]:
    """One row per docstring, in the order of packages, files and lines."""
    rows: list[dict[str, Any]] = []
    for done, package in enumerate(source.packages):
        progress(done, len(source.packages), package)
        found = _read_package(package, source.max_per_package)
        if not found:
            raise UserError(
                f"data.sources: package {package!r} holds no docstrings to learn from (it may be compiled); "
                "leave it out of `packages`"
            )
        rows += found
    progress(len(source.packages), len(source.packages), "")
    return rows


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


def _read_package(package: str, limit: int) -> list[dict[str, Any]]:
    """Docstrings of whole files, drawn by the hash of their path until `limit` is reached.

    Drawing files, not docstrings, leaves the rest unparsed: parsing is nearly all of the cost.
    """
    root, licence, source = package_folder(package), _licence(package), f"python:{package}"
    drawn: list[tuple[str, list[tuple[str, str]]]] = []
    count = 0
    for path in sorted(_files(root), key=lambda name: hashlib.sha256(f"{package}/{name}".encode()).digest()):
        docstrings = list(_docstrings(root / path))
        drawn.append((path, docstrings))
        count += len(docstrings)
        if count >= limit:
            break
    rows = []
    for path, docstrings in sorted(drawn):
        for name, text in docstrings:
            uri = f"python://{package}/{path}#{name}" if name else f"python://{package}/{path}"
            rows.append(
                {
                    "id": document_id(source, uri),
                    "text": text,
                    "label": package,
                    "source": source,
                    "uri": uri,
                    "licence": licence,
                    "content_hash": text_hash(text),
                    "parents": [],
                    "steps": [],
                }
            )
    return rows[:limit]


def _files(root: Path) -> Iterator[str]:
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        if not SKIPPED.intersection(relative.parts):
            yield relative.as_posix()


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(qualified name, text) of the module, its classes and functions; a file that cannot be parsed has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        name, node = pending.pop(0)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and text.strip():
                yield name, text.encode("utf-8", "replace").decode()
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                pending.append((f"{name}.{child.name}" if name else child.name, child))
            elif isinstance(child, ast.If | ast.Try):
                pending.append((name, child))


@cache
def _distribution(package: str) -> Any:
    from importlib import metadata

    names = [package, package.replace("_", "-"), *metadata.packages_distributions().get(package, [])]
    for name in names:
        try:
            return metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
    return None


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
