"""One request at a time to a host, with retries, bounds on time and size, and nothing that leads inside."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore

from llm_assets.data.sources.addresses import CheckedBackend, RefusedAddress, Resolver, resolve
from llm_assets.data.sources.config import Web

PASSING = (429, 500, 502, 503, 504)
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_WAIT = 60.0
FIRST_WAIT = 0.5


class FetchProblem(Exception):
    """Why there is no answer: a `reason` that rejects are counted by, and a `detail`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Answer:
    """What a server said. `headers` have lower-case names; `raw` is the body as sent, `body` unpacked."""

    url: str
    status: int
    headers: Mapping[str, str]
    raw: bytes
    body: bytes


@dataclass
class _Host:
    lock: threading.Lock = field(default_factory=threading.Lock)
    free_at: float = 0.0


class Fetcher:
    """Fetches for one crawl, from any number of threads; a host is asked one thing at a time, with `delay` between."""

    def __init__(self, source: Web, resolver: Resolver = resolve) -> None:
        self._source = source
        self._backend = CheckedBackend(source.allow_hosts, resolver)
        self._pool = httpcore.ConnectionPool(
            network_backend=self._backend, max_connections=2 * source.workers, keepalive_expiry=15
        )
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._pool.close()

    def get(self, url: str, headers: Mapping[str, str], delay: float, limit: int) -> Answer:
        """The answer of one URL, redirects not followed, errors that may pass tried again.

        delay: seconds since the last request to its host, at least; limit: bytes of the body. Raises FetchProblem.
        """
        with self._lock:
            host = self._hosts.setdefault(urlsplit(url).netloc.lower(), _Host())
        with host.lock:
            for attempt in range(self._source.retries + 1):
                time.sleep(max(0.0, host.free_at - time.monotonic()))
                problem, wait = None, FIRST_WAIT * 2**attempt
                try:
                    answer = self._ask(url, headers, limit)
                except FetchProblem as error:
                    if error.reason not in ("connection", "timeout"):
                        raise
                    problem = error
                finally:
                    host.free_at = time.monotonic() + delay
                if problem is None:
                    if answer.status not in PASSING:
                        return answer
                    problem = FetchProblem(f"http_{answer.status}", f"status {answer.status}")
                    asked = answer.headers.get("retry-after", "")
                    wait = min(LONGEST_WAIT, float(asked)) if asked.isdigit() else wait
                if attempt == self._source.retries:
                    raise FetchProblem(problem.reason, f"{problem.detail}, {attempt + 1} times")
                host.free_at = max(host.free_at, time.monotonic() + wait)
        raise AssertionError("unreachable")

    def _ask(self, url: str, headers: Mapping[str, str], limit: int) -> Answer:
        self._backend.deadline(self._source.timeout_seconds)
        sent = {"Host": urlsplit(url).netloc, "User-Agent": self._source.user_agent, "Accept-Encoding": "gzip, deflate"}
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._source.timeout_seconds)
        try:
            with self._pool.stream(
                "GET", url, headers=list((sent | dict(headers)).items()), extensions={"timeout": timeouts}
            ) as response:
                found: dict[str, str] = {}
                for name, value in response.headers:
                    key, text = name.decode("latin-1").lower(), value.decode("latin-1")
                    found[key] = f"{found[key]}, {text}" if key in found else text
                raw = bytearray()
                for chunk in response.iter_stream():
                    raw += chunk
                    if len(raw) > limit:
                        raise FetchProblem("too_large", f"more than {limit:,} bytes")
                return Answer(url, response.status, found, bytes(raw), unpacked(bytes(raw), found, limit))
        except RefusedAddress as error:
            raise FetchProblem("refused_address", str(error)) from None
        except httpcore.TimeoutException:
            raise FetchProblem("timeout", f"no whole answer in {self._source.timeout_seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            raise FetchProblem("connection", str(error) or type(error).__name__) from None


def unpacked(raw: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """The body without its content encoding. Raises FetchProblem when it is broken or longer than `limit`."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity") or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchProblem("content_encoding", f"{encoding} was not asked for")
    for bits in (47, -15):  # zlib or gzip by its header; deflate without one, as some servers send it
        decoder = zlib.decompressobj(bits)
        try:
            body = decoder.decompress(raw, limit + 1)
        except zlib.error:
            continue
        if len(body) > limit:
            raise FetchProblem("too_large", f"more than {limit:,} bytes unpacked")
        if decoder.eof:
            return body
        break
    raise FetchProblem("content_encoding", f"broken {encoding}")


def normal_url(url: str, base: str | None = None) -> str | None:
    """One form for each URL: absolute, lower-case host in ASCII, no fragment. None for what is not a http(s) URL."""
    try:
        parts = urlsplit(urljoin(base, url.strip()) if base else url.strip())
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            return None
        host = f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in (None, default) else f"{host}:{port}"
    path = parts.path or "/"
    if "/." in path and not path.startswith("//"):
        path = urlsplit(urljoin("http://x/", path)).path  # without dot segments
    safe = "/%:@!$&'()*+,;=~-._?"
    return urlunsplit((parts.scheme, netloc, quote(path, safe), quote(parts.query, safe), ""))
