"""Memory in pages of 2 MB, where Linux gives them to who asks: a step of decoding takes a tenth less time, a training
step with large tensors a third less.

A decoder reads all its weights and its KV cache in every step, and each page has to be found. Tensors of more than
32 MB go back to the system when they are freed, and each page of the next one costs a fault. glibc's malloc asks for
huge pages when it is told to before a process starts; other systems' takes no notice.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE, SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def asking() -> dict[str, str]:
    """What to add to a new process's environment; nothing where the user has decided, or there are none."""
    given = os.environ.get(VARIABLE, "")
    if SETTING in given or not available():
        return {}
    return {VARIABLE: ":".join(filter(None, (given, f"{SETTING}=1")))}


def available() -> bool:
    """Whether this system has huge pages for who asks."""
    return ENABLED.is_file() and "[madvise]" in ENABLED.read_text(encoding="ascii")


def ask() -> None:
    """Begin this process anew with the setting, unless it has it. Its number and its start time stay the same."""
    if wanted := asking():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)
