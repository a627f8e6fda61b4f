"""Where batches are worked on: in this process, or in as many as there are cores. Results come in order either way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from llm_assets.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
IDLE_SECONDS = 60  # then a worker ends by itself, so none outlives a killed parent for long


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work(item)` of each item, in the order of the items. Only a few items per worker are in memory at a time.

    `work` and what it takes and gives must be picklable when there is more than one worker (loky starts fresh
    interpreters: no fork of a process with threads, and no import of the caller's main module).
    """
    if workers <= 1:
        yield from map(work, items)
        return
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(
        workers, timeout=IDLE_SECONDS, initializer=_one_thread, env={"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    )
    try:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the cleaning was killed, most likely for want of memory. Run again with more of it, "
            "or with shorter documents (data.clean.max_chars)."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _one_thread() -> None:
    """Processes share the cores; threads inside them would only compete."""
    import pyarrow as pa

    pa.set_cpu_count(1)
