"""Where batches are worked on: in this process, or in as many as there are cores. Results come in order either way."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from llm_assets.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work(item)` of each item, in the order of the items. Only a few items per worker are in memory at a time.

    `work` and what it takes and gives must be picklable when there is more than one worker (loky starts fresh
    interpreters: no fork of a process with threads, and no import of the caller's main module). `work` goes to each
    worker once, with all that is bound to it.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(
        workers, initializer=_begin, initargs=(os.getpid(), work), env={"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    )
    try:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(pool.submit(_do, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most likely for want of memory. Run again with more of it, "
            "or with shorter documents (data.clean.max_chars)."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


_bound: list[Callable[[Any], Any]] = []  # what a worker is there for


def _do(item: Any) -> Any:
    return _bound[0](item)


def _begin(parent: int, work: Callable[[Any], Any]) -> None:
    """In a new worker: one thread, since processes share the cores, and an end with the process that started it."""
    import pyarrow as pa

    _bound[:] = [work]
    pa.set_cpu_count(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent cannot tell its workers, which would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
