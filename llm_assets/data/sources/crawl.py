"""What a crawl may fetch, and how one URL of it becomes a document, a page or a reject."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from llm_assets.data.sources.config import Web
from llm_assets.data.sources.found import Found, parse_date
from llm_assets.data.sources.html import MARKUP, Page
from llm_assets.data.sources.http import REDIRECTS, Answer, Fetcher, FetchProblem, normal_url
from llm_assets.data.sources.robots import Robots
from llm_assets.data.sources.warc_writer import WarcWriter
from llm_assets.data.sources.web_cache import WebCache, conditions

HOPS = 10
NO_PAGE = Page(b"")


@dataclass
class Crawl:
    source: Web
    fetcher: Fetcher
    robots: Robots
    cache: WebCache
    warc: WarcWriter | None
    sites: frozenset[str]
    end: float
    asked: int = 0
    seen: set[bytes] = field(default_factory=set)


def visit(crawl: Crawl, url: str) -> tuple[Found, Page]:
    try:
        return _document(crawl, follow(crawl, url, crawl.source.max_page_bytes))
    except FetchProblem as problem:
        return found_at(url, None)._replace(reason=problem.reason, detail=problem.detail), NO_PAGE


def follow(crawl: Crawl, url: str, limit: int) -> Answer:
    """Fetch one URL, redirects followed as far as the crawl may go."""
    for _ in range(HOPS):
        answer = _get(crawl, url, limit)
        if answer.status not in REDIRECTS:
            return answer
        place = answer.headers.get("location", "")
        target = normal_url(place, url)
        if target is None:
            raise FetchProblem("refused_scheme", f"{url} redirects to {place[:200]!r}")
        if not on_site(crawl, target):
            raise FetchProblem("off_site", f"{url} redirects to {target}")
        url = target
    raise FetchProblem("redirects", f"more than {HOPS} redirects")


def _get(crawl: Crawl, url: str, limit: int) -> Answer:
    """The page of one URL: the server's, or the kept one where the server says that it is unchanged."""
    if time.monotonic() > crawl.end:
        raise FetchProblem("max_seconds", f"the crawl has taken {crawl.source.max_seconds:g} s")
    crawl.robots.check(url)
    known = crawl.cache.load(url)
    answer = crawl.fetcher.get(url, conditions(known), crawl.robots.delay(url), limit)
    if answer.status == 304 and known is not None:
        return known
    crawl.cache.store(answer)
    if crawl.warc:
        crawl.warc.write(answer)
    return answer


def _document(crawl: Crawl, answer: Answer) -> tuple[Found, Page]:
    found = found_at(answer.url, crawl.source.label)._replace(fetched_at=_last_modified(answer))
    if answer.status != 200:
        return found._replace(reason=f"http_{answer.status}", detail=f"status {answer.status}"), NO_PAGE
    if {"noindex", "none"} & directives(answer.headers.get("x-robots-tag", "")):
        return found._replace(reason="noindex", detail="its header asks robots not to index it"), NO_PAGE
    kind = Message()
    kind["Content-Type"] = answer.headers.get("content-type", "text/html")
    if kind.get_content_type() in MARKUP:
        if not answer.body:
            return found._replace(reason="no_text", detail="an empty page"), NO_PAGE
        return found, Page(answer.body, answer.url, kind.get_content_charset())
    if kind.get_content_maintype() != "text":
        return found._replace(reason="content_type", detail=kind.get_content_type()), NO_PAGE
    try:
        return found._replace(text=answer.body.decode(kind.get_content_charset() or "utf-8")), NO_PAGE
    except (LookupError, UnicodeDecodeError) as error:
        return found._replace(reason="encoding", detail=str(error)[:200]), NO_PAGE


def on_site(crawl: Crawl, url: str) -> bool:
    return not crawl.source.same_site or site_of(url) in crawl.sites


def site_of(url: str) -> str:
    return (urlsplit(url).hostname or "").lower().removeprefix("www.")


def found_at(url: str, label: str | None) -> Found:
    return Found(url, None, label, source=f"web:{urlsplit(url).hostname or ''}")


def directives(text: str) -> set[str]:
    return {word.strip() for word in text.lower().split(",")}


def _last_modified(answer: Answer) -> datetime | None:
    try:
        return parse_date(parsedate_to_datetime(answer.headers["last-modified"]))
    except (KeyError, ValueError, TypeError):
        return None
