"""A polite crawl: pages of the web from seeds and sitemaps, level by level, the main text of each."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, zip_longest
from pathlib import Path
from urllib.parse import urlsplit

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.sources.addresses import Resolver, resolve
from llm_assets.data.sources.config import Web
from llm_assets.data.sources.crawl import NO_PAGE, Crawl, directives, follow, found_at, on_site, site_of, visit
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.html import Page, main_texts
from llm_assets.data.sources.http import Fetcher, FetchProblem, normal_url
from llm_assets.data.sources.robots import Robots
from llm_assets.data.sources.sitemaps import LIMIT, sitemap_urls
from llm_assets.data.sources.warc_writer import WarcWriter
from llm_assets.data.sources.web_cache import WebCache

SITEMAPS = 1000


def read_web(
    source: Web, home: Path, progress: Progress = no_progress, resolver: Resolver = resolve
) -> Iterator[Found]:
    """Documents of a crawl in an order that depends on the pages alone; what could not be read is a reject.

    robots.txt is obeyed, also its Crawl-delay and pages' own noindex and nofollow. A page that the server says is
    unchanged is taken from `home`/web/pages. `fetched_at` is the page's Last-Modified. Proxies of the environment are
    not used: they would resolve names themselves, past every check.
    """
    folder = home / "web"
    warc = WarcWriter(folder / "warc", crawl_name(source)) if source.warc else None
    with closing(Fetcher(source, resolver)) as fetcher:
        crawl = Crawl(
            source,
            fetcher,
            Robots(fetcher, source.user_agent, source.delay_seconds),
            WebCache(folder / "pages"),
            warc,
            frozenset(site_of(url) for url in (*source.seeds, *source.sitemaps)),
            time.monotonic() + source.max_seconds,
        )
        try:
            yield from _levels(crawl, progress)
        except BaseException:
            if warc:
                warc.discard()
            raise
        if warc:
            warc.keep()


def crawl_name(source: Web) -> str:
    """A short name for what is crawled: the same for the same settings."""
    settings = source.model_dump(mode="json")
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _levels(crawl: Crawl, progress: Progress) -> Iterator[Found]:
    source = crawl.source
    level, rejects = _from_sitemaps(crawl)
    yield from rejects
    level = _unseen(crawl, [*(normal_url(url) or url for url in source.seeds), *level])
    for depth in range(source.max_depth + 1):
        links: list[str] = []
        due = _by_turns(level)[: source.max_pages - crawl.asked]
        for found, extracted in main_texts(_visited(crawl, due, progress)):
            if found.reason or found.text is not None:
                yield found
                continue
            if not {"noindex", "none"} & directives(extracted.robots):
                text, problem = extracted.text, extracted.problem
                yield found._replace(text=text) if text else found._replace(reason="no_text", detail=problem)
            else:
                yield found._replace(reason="noindex", detail="the page asks robots not to index it")
            if depth < source.max_depth and not {"nofollow", "none"} & directives(extracted.robots):
                for link in extracted.links:
                    url = normal_url(link)
                    if url and len(links) < source.max_pages and _wanted(crawl, url):  # more could not be read
                        links += _unseen(crawl, [url])
        left = len(level) - len(due)
        level = links
        if time.monotonic() > crawl.end or crawl.asked >= source.max_pages:
            left += len(level)
            limit = "max_seconds" if time.monotonic() > crawl.end else "max_pages"
            if left:
                detail = f"{left:,} known URLs, or more, were not read"
                yield Found(f"web:{crawl_name(source)}", None, reason=limit, detail=detail)
            return
        if not level:
            return


def _visited(crawl: Crawl, urls: list[str], progress: Progress) -> Iterator[tuple[Found, Page]]:
    """(document or reject, its page where text is still to be found), in the order of `urls`; a few in memory."""
    window = 4 * crawl.source.workers
    waiting: deque[Future[tuple[Found, Page]]] = deque()

    def done() -> tuple[Found, Page]:
        found, page = waiting.popleft().result()
        crawl.asked += 1
        progress(crawl.asked, crawl.source.max_pages, found.uri)
        if found.reason is None:
            mark = hashlib.sha256(f"final {found.uri}".encode()).digest()[:8]
            if mark in crawl.seen:
                return found._replace(
                    text=None, reason="repeated", detail="led to a page that was read already"
                ), NO_PAGE
            crawl.seen.add(mark)
        return found, page

    with ThreadPoolExecutor(crawl.source.workers) as pool:
        try:
            for url in urls:
                waiting.append(pool.submit(visit, crawl, url))
                if len(waiting) >= window:
                    yield done()
            while waiting:
                yield done()
        finally:
            for future in waiting:
                future.cancel()


def _from_sitemaps(crawl: Crawl) -> tuple[list[str], list[Found]]:
    """(pages, rejects) of all sitemaps; of pages no more than the crawl may ask for."""
    waiting = deque((url, 0) for url in crawl.source.sitemaps)
    pages: dict[str, None] = {}
    rejects, read = [], 0
    while waiting and read < SITEMAPS and len(pages) < crawl.source.max_pages:
        url, depth = waiting.popleft()
        read += 1
        try:
            answer = follow(crawl, normal_url(url) or url, LIMIT)
            if answer.status != 200:
                raise FetchProblem(f"http_{answer.status}", f"status {answer.status}")
            for address, is_sitemap in sitemap_urls(answer.body):
                target = normal_url(address)
                if is_sitemap and target and depth < 2 and on_site(crawl, target):
                    waiting.append((target, depth + 1))
                elif not is_sitemap and target and _wanted(crawl, target):
                    pages[target] = None
                if len(pages) >= crawl.source.max_pages:
                    break
        except FetchProblem as problem:
            rejects.append(found_at(url, None)._replace(reason=problem.reason, detail=f"sitemap: {problem.detail}"))
    return list(pages), rejects


def _unseen(crawl: Crawl, urls: Iterable[str]) -> list[str]:
    found = []
    for url in urls:
        mark = hashlib.sha256(url.encode()).digest()[:8]
        if mark not in crawl.seen:
            crawl.seen.add(mark)
            found.append(url)
    return found


def _by_turns(urls: list[str]) -> list[str]:
    """The hosts in turns, so that waiting for one is time for the others."""
    hosts: dict[str, list[str]] = {}
    for url in urls:
        hosts.setdefault(urlsplit(url).netloc, []).append(url)
    return [url for url in chain.from_iterable(zip_longest(*hosts.values())) if url]


def _wanted(crawl: Crawl, url: str) -> bool:
    source = crawl.source
    return (
        on_site(crawl, url)
        and (not source.include or any(re.search(pattern, url) for pattern in source.include))
        and not any(re.search(pattern, url) for pattern in source.exclude)
    )
