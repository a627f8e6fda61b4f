"""What robots.txt allows (RFC 9309), read with protego."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

from llm_assets.data.sources.http import REDIRECTS, Fetcher, FetchProblem, normal_url

LIMIT = 512 * 1024
LONGEST_DELAY = 60.0


class Robots:
    """The rules of each host, fetched once a crawl. Without the file all is allowed; when it cannot be had, nothing."""

    def __init__(self, fetcher: Fetcher, user_agent: str, delay: float) -> None:
        self._fetcher, self._agent, self._delay = fetcher, user_agent.partition("/")[0], delay
        self._rules: dict[str, Any] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def check(self, url: str) -> None:
        """Raises FetchProblem when `url` may not be fetched."""
        rules = self._of(url)
        if isinstance(rules, FetchProblem):
            raise rules
        if not rules.can_fetch(url, self._agent):
            raise FetchProblem("robots", f"robots.txt disallows it for {self._agent}")

    def delay(self, url: str) -> float:
        """Seconds between two requests to the host of `url`."""
        rules = self._of(url)
        asked = None if isinstance(rules, FetchProblem) else rules.crawl_delay(self._agent)
        return max(self._delay, min(float(asked or 0), LONGEST_DELAY))

    def _of(self, url: str) -> Any:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            lock = self._locks.setdefault(origin, threading.Lock())
        with lock:
            if origin not in self._rules:
                self._rules[origin] = self._fetch(f"{origin}/robots.txt")
            return self._rules[origin]

    def _fetch(self, url: str) -> Any:
        from protego import Protego

        try:
            for _ in range(6):
                answer = self._fetcher.get(url, {}, self._delay, LIMIT)
                target = normal_url(answer.headers.get("location", ""), url)
                if answer.status not in REDIRECTS or target is None:
                    break
                url = target
        except FetchProblem as problem:
            reason = "refused_address" if problem.reason == "refused_address" else "robots"
            return FetchProblem(reason, f"robots.txt of its host cannot be had ({problem})")
        return Protego.parse(answer.body.decode("utf-8", "replace") if answer.status == 200 else "")
