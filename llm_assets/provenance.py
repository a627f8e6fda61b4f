"""What an artifact was made with, beside its inputs: recorded with every version, so that it can be made again."""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
CODE = ("llm_assets", "resources", "sensors")


@cache
def environment() -> dict[str, Any]:
    """{"python", "platform", "processor", "source", "packages"} of this process.

    source: a hash of the project's own code; packages: name -> version of all that is installed.
    """
    packages = {item.metadata["Name"]: item.version for item in distributions() if item.metadata["Name"]}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "processor": _processor(),
        "source": source_hash(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].casefold())),
    }


@cache
def source_hash(root: Path = PROJECT) -> str:
    """Hash of the project's Python files and their names, 16 hex digits."""
    total = hashlib.sha256()
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return total.hexdigest()[:16]


def _processor() -> str:
    """Its model: floating-point kernels differ from one to another."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()
