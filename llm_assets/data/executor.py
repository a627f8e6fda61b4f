"""Where batches are worked on: in this process, or in as many as there are cores. Results come in order either way."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from llm_assets.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InOrder(Protocol):
    """`work(item)` of each item, in the order of the items. Only a few items per worker are in memory at a time."""

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work(item)` of each item, in the order of the items. Only a few items per worker are in memory at a time.

    `work` and what it takes and gives must be picklable when there is more than one worker (loky starts fresh
    interpreters: no fork of a process with threads, and no import of the caller's main module). `work` goes to each
    worker once, with all that is bound to it.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    with _pool(workers, work) as pool:
        yield from _waited(pool, _do, items, workers)


@contextmanager
def processes(workers: int) -> Iterator[InOrder]:
    """`in_order` for one work after another in the same processes, which start with the first. What is bound to a work
    is sent with each item, and unpickled once: it should be small."""
    if workers <= 1:
        yield map
        return
    with _pool(workers, None) as pool:

        def each(work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
            sent = pickle.dumps(work)
            return _waited(pool, _do_sent, ((sent, item) for item in items), workers)

        yield each


@contextmanager
def _pool(workers: int, work: Callable[[Any], Any] | None) -> Iterator[Any]:
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    env = {"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    env["LOKY_MAX_MEMORY_LEAK_SIZE"] = "1e15"  # what a worker remembers is bounded, and lost when it is replaced
    pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(os.getpid(), work), env=env)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most likely for want of memory. Run again with more of it, "
            "or with shorter documents (data.clean.max_chars)."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _waited(pool: Any, do: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(pool.submit(do, item))
        if len(waiting) > 2 * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_bound: list[Any] = []  # what a worker is there for
_received = lru_cache(1)(pickle.loads)  # what an earlier work remembers must not stay in memory


def _do(item: Any) -> Any:
    return _bound[0](item)


def _do_sent(sent: tuple[bytes, Any]) -> Any:
    return _received(sent[0])(sent[1])


def _begin(parent: int, work: Callable[[Any], Any] | None) -> None:
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
