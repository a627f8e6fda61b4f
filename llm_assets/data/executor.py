"""Where batches are worked on: in this process, or in as many as there are cores. Results come in order either way."""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
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
    from cloudpickle import dump
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(
        workers, initializer=_begin, initargs=(os.getpid(),), env={"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    )
    try:
        with tempfile.TemporaryDirectory(prefix="llm-assets-work-") as folder:
            path = Path(folder) / "work.pickle"
            with path.open("wb") as file:
                dump(work, file)
            do, waiting = partial(_do, path), deque[Any]()
            for item in items:
                waiting.append(pool.submit(do, item))
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


def _do(path: Path, item: Any) -> Any:
    return _work(path)(item)


@lru_cache(maxsize=1)
def _work(path: Path) -> Callable[[Any], Any]:
    """What this worker is there for."""
    with path.open("rb") as file:
        work: Callable[[Any], Any] = pickle.load(file)
    return work


def _begin(parent: int) -> None:
    """In a new worker: one thread, since processes share the cores, and an end with the process that started it."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent cannot tell its workers, which would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
