"""The main text of web pages, with trafilatura (Barbaresi 2021, ACL demo papers), on all cores.

Pages come from strangers: each is read by a worker process that is ended when it takes too long or too much memory.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple, TypeVar

MARKUP = ("text/html", "application/xhtml+xml")
SECONDS = 60.0
MEMORY = 4 * 2**30
T = TypeVar("T")


class Extracted(NamedTuple):
    """The text of a page, or the `problem` for which there is none."""

    text: str | None
    problem: str | None


def main_text(page: bytes | str, url: str | None = None) -> str | None:
    """The text of a page without navigation, advertising and comments; None where there is none.

    Bytes are decoded by what the page declares, or what they look like.
    """
    text = _library().extract(page, url=url, include_comments=False, favor_precision=True)
    return str(text).strip() or None if text else None


def main_texts(pages: Iterable[tuple[T, bytes, str]], seconds: float = SECONDS) -> Iterator[tuple[T, Extracted]]:
    """`main_text` of many pages, given as (anything, page, url); results in their order, a few pages in memory.

    An empty page costs nothing. seconds: a page that takes longer is given up.
    """
    count = os.cpu_count() or 1
    local, workers = threading.local(), list[_Worker]()

    def extract(page: bytes, url: str) -> Extracted:
        if getattr(local, "worker", None) is None:
            local.worker = _Worker()
            workers.append(local.worker)
        found = local.worker.extract(page, url, seconds)
        if found is None:
            local.worker = None
            return Extracted(None, f"its main text was not found within {seconds:g} s and {MEMORY // 2**30} GiB")
        return found

    waiting: deque[tuple[T, Future[Extracted]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item, page, url in pages:
                waiting.append((item, pool.submit(extract, page, url) if page else _empty()))
                if len(waiting) > 4 * count:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
            for worker in workers:
                worker.stop()


def _empty() -> Future[Extracted]:
    future: Future[Extracted] = Future()
    future.set_result(Extracted(None, "an empty page"))
    return future


class _Worker:
    """A process that runs `_serve`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llm_assets.data.sources.html"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def extract(self, page: bytes, url: str, seconds: float) -> Extracted | None:
        """None when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        limit = threading.Timer(seconds, self._process.kill)
        limit.start()
        try:
            stdin.write(json.dumps({"url": url, "size": len(page)}).encode() + b"\n" + page)
            stdin.flush()
            answer = stdout.readline()
        except OSError:
            answer = b""
        finally:
            limit.cancel()
        if not answer.endswith(b"\n"):
            self.stop()
            return None
        return Extracted(*json.loads(answer))

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """Answer each page on stdin with a line on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while line := sys.stdin.buffer.readline():
        task = json.loads(line)
        page = sys.stdin.buffer.read(task["size"])
        try:
            text = main_text(page, task["url"])
            answer = (text, None if text else "no main text found")
        except Exception as error:  # whatever a parser makes of a broken page concerns that page alone
            answer = (None, f"{type(error).__name__}: {error}"[:200])
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


@cache
def _library() -> Any:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs every page it finds odd
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
    return trafilatura


if __name__ == "__main__":
    _serve()
