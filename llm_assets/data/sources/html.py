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
from urllib.parse import urljoin

MARKUP = ("text/html", "application/xhtml+xml")
SECONDS = 60.0
MEMORY = 4 * 2**30
READY = b"ready\n"
T = TypeVar("T")


class Page(NamedTuple):
    """A page as it was fetched: its bytes (none: nothing is extracted), URL, and the encoding its server named."""

    content: bytes
    url: str = ""
    encoding: str | None = None


class Extracted(NamedTuple):
    """The text of a page, or the `problem` for which there is none; what it links to; what it says to robots."""

    text: str | None
    problem: str | None
    links: list[str] = []  # noqa: RUF012
    robots: str = ""


def main_text(page: bytes | str, url: str | None = None) -> str | None:
    """The text of a page without navigation, advertising and comments; None where there is none.

    Bytes are decoded by what the page declares, or what they look like.
    """
    text = _library().extract(page, url=url, include_comments=False, favor_precision=True)
    return str(text).strip() or None if text else None


def main_texts(pages: Iterable[tuple[T, Page]], seconds: float = SECONDS) -> Iterator[tuple[T, Extracted]]:
    """`main_text` of many pages, each with anything beside it; results in their order, a few pages in memory.

    seconds: a page that takes longer is given up.
    """
    count = os.cpu_count() or 1
    local, workers = threading.local(), list[_Worker]()

    def extract(page: Page) -> Extracted:
        if getattr(local, "worker", None) is None:
            local.worker = _Worker()
            workers.append(local.worker)
        found = local.worker.extract(page, seconds)
        if found is None:
            local.worker = None
            return Extracted(None, f"its main text was not found within {seconds:g} s and {MEMORY // 2**30} GiB")
        return found

    waiting: deque[tuple[T, Future[Extracted]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item, page in pages:
                waiting.append((item, pool.submit(extract, page) if page.content else _empty()))
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
        if self._process.stdout is None or self._process.stdout.readline() != READY:
            raise RuntimeError(f"{sys.executable} cannot run the extraction of main texts")

    def extract(self, page: Page, seconds: float) -> Extracted | None:
        """None when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        limit = threading.Timer(seconds, self._process.kill)
        limit.start()
        try:
            task = {"url": page.url, "size": len(page.content), "encoding": page.encoding}
            stdin.write(json.dumps(task).encode() + b"\n" + page.content)
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
    _library()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    while line := sys.stdin.buffer.readline():
        task = json.loads(line)
        page = sys.stdin.buffer.read(task["size"])
        try:
            answer = _extracted(page, task["url"], task["encoding"])
        except Exception as error:  # whatever a parser makes of a broken page concerns that page alone
            answer = Extracted(None, f"{type(error).__name__}: {error}"[:200])
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _extracted(content: bytes, url: str, encoding: str | None) -> Extracted:
    from lxml import html
    from trafilatura.utils import decode_file

    try:
        page = content.decode(encoding or "utf-8", "replace" if encoding else "strict")
    except (LookupError, UnicodeDecodeError):
        page = decode_file(content)
    text = main_text(page, url or None)
    problem = None if text else "no main text found"
    if not url:
        return Extracted(text, problem)
    tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    base = next(iter(tree.xpath("//base/@href")), "")
    links = [urljoin(urljoin(url, base), link) for link in tree.xpath("//a[not(contains(@rel, 'nofollow'))]/@href")]
    robots = ",".join(tree.xpath("//meta[translate(@name, 'ROBTS', 'robts') = 'robots']/@content"))
    return Extracted(text, problem, list(dict.fromkeys(links)), robots.lower())


@cache
def _library() -> Any:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs every page it finds odd
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
    return trafilatura


if __name__ == "__main__":
    _serve()
