"""Which files a pattern means. Links are followed, and a folder is entered once, however many links lead to it."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from llm_assets.data.sources.config import Files
from llm_assets.errors import UserError

WILD = re.compile(r"[*?[]")


def find_files(source: Files, root: Path) -> list[Path]:
    """The files of a source, sorted within a pattern; a pattern that matches none is an error."""
    found: dict[Path, None] = {}
    for pattern in source.paths:
        full = Path(pattern) if Path(pattern).is_absolute() else root / pattern
        matches = sorted(_matching(full))
        if not matches and full.is_dir():
            raise UserError(f"data.sources: {pattern!r} is a folder; name its files, as in {pattern}/**/*.jsonl")
        if not matches:
            raise UserError(f"data.sources: no file matches {pattern!r} (looked for {full}); correct `paths`")
        found.update(dict.fromkeys(matches))
    return list(found)


def shown_path(path: Path, root: Path) -> str:
    """How rows name the file: as the recipe does, so that ids do not depend on where the project lies."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-2:])


def _matching(full: Path) -> Iterator[Path]:
    parts = full.parts
    if "**" not in parts:
        yield from (Path(path) for path in glob.glob(str(full)) if Path(path).is_file())  # noqa: PTH207
        return
    first = next(n for n, part in enumerate(parts) if WILD.search(part))
    base, wanted = Path(*parts[:first]), _expression(parts[first:])
    for path in _walk(base):
        if wanted.fullmatch(path.relative_to(base).as_posix()) and path.is_file():
            yield path


def _walk(base: Path) -> Iterator[Path]:
    """All that is no folder below `base`; hidden ones are left out. Folders first by their own names, then by links."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([base])
    while waiting:
        for folder, folders, files in os.walk(waiting.popleft()):
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting.extend(path for name in folders if (path := Path(folder, name)).is_symlink())
            yield from (Path(folder, name) for name in files if not name.startswith("."))


def _expression(parts: tuple[str, ...]) -> re.Pattern[str]:
    """A glob's parts as an expression over `a/b/c`; `**` is any number of folders."""
    text = ""
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:[^/]+/)*"
        else:
            segment = fnmatch.translate(part).removesuffix(r"\Z")
            text += segment.replace(".*", "[^/]*") + ("" if last else "/")
    return re.compile(text, re.DOTALL)
