"""The docstrings of one package, as JSON on standard output: `python docstrings.py FOLDER NAME LIMIT`.

A program of its own, with nothing but the standard library, so that packages can be read on all cores: parsing is
nearly all of the cost (about 4 MB of source a second).
"""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SKIPPED = {"test", "tests", "testing", "_vendor", "site-packages", "dist-packages", "idlelib", "__pycache__"}
Docstring = tuple[str, str, str]  # (path under the package, qualified name, text)


def package_docstrings(root: Path, package: str, limit: int) -> list[Docstring]:
    """At most `limit` docstrings, in the order of files and definitions.

    They are those of whole files, drawn by the hash of their path until there are enough: what is not drawn need
    not be parsed, and the same files are drawn on every machine.
    """
    drawn: list[tuple[str, list[tuple[str, str]]]] = []
    count = 0
    for path in sorted(_files(root), key=lambda name: hashlib.sha256(f"{package}/{name}".encode()).digest()):
        found = list(_file_docstrings(root / path))[: limit - count]
        drawn.append((path, found))
        count += len(found)
        if count >= limit:
            break
    return [(path, name, text) for path, found in sorted(drawn) for name, text in found]


def _files(root: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED]
        relative = Path(folder).relative_to(root)
        yield from ((relative / name).as_posix() for name in names if name.endswith(".py"))


def _file_docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(qualified name, text) of the module, its classes and functions; a file that cannot be parsed has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return
    pending: list[tuple[str, Any]] = [("", tree)]
    for name, node in pending:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and text.strip():
                yield name, text.encode("utf-8", "replace").decode()
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                pending.append((f"{name}.{child.name}" if name else child.name, child))
            elif isinstance(child, ast.If | ast.Try):
                pending.append((name, child))


if __name__ == "__main__":
    gc.disable()  # syntax trees hold no cycles
    folder, name, limit = sys.argv[1:]
    json.dump(package_docstrings(Path(folder), name, int(limit)), sys.stdout)
