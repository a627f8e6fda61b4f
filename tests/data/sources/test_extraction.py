"""Main text of web pages: at least as good as trafilatura's own on the shared articles, whatever the pages do."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_assets.data.config import Files
from llm_assets.data.sources.html import Page, main_text, main_texts
from llm_assets.data.sources.read import Count, read_source

WORDS = re.compile(r"\w+")


def shingles(text: str, size: int = 4) -> Counter[tuple[str, ...]]:
    words = WORDS.findall(text)
    return Counter(tuple(words[n : n + size]) for n in range(max(1, len(words) - size + 1)))


def f1(pairs: list[tuple[str, str]]) -> float:
    """Of (gold, found) texts: F1 of mean precision and mean recall over bags of 4-word shingles.

    The measure of the article extraction benchmark that the pages are from (Scrapinghub 2020).
    """
    precision = recall = 0.0
    for gold, found in pairs:
        wanted, got = shingles(gold), shingles(found)
        common = sum((wanted & got).values())
        precision += common / sum(got.values()) / len(pairs)
        recall += common / sum(wanted.values()) / len(pairs)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("count", [40, pytest.param(181, marks=pytest.mark.slow)])
def test_main_text_is_at_least_trafilaturas_own(count: int, real_data: Path) -> None:
    import trafilatura

    folder = real_data / "web_articles"
    gold = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    gold = {name: gold[name] for name in sorted(gold)[:count]}
    pages = {name: gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()) for name in gold}

    def measure(extract: Callable[[bytes], str | None]) -> float:
        return f1([(gold[name]["articleBody"], extract(page) or "") for name, page in pages.items()])

    ours = dict(main_texts((name, Page(page)) for name, page in pages.items()))
    measured = f1([(gold[name]["articleBody"], ours[name].text or "") for name in gold])
    default = measure(trafilatura.extract)
    without_comments = measure(lambda page: trafilatura.extract(page, include_comments=False))
    print(f"F1: ours {measured:.4f}, trafilatura {default:.4f}, without comments {without_comments:.4f}")
    assert measured >= max(default, without_comments)
    assert measured >= 0.95


def test_pages_as_files_and_in_order(real_data: Path, tmp_path: Path) -> None:
    count = Count("files")
    source = Files(paths=[f"{real_data}/web_articles/html/0[0-4]*.html.gz"])
    rows = [row for batch in read_source(source, tmp_path, count=count) for row in batch.documents.to_pylist()]
    assert [row["uri"] for row in rows] == sorted(row["uri"] for row in rows)
    assert count.documents == len(rows) == 2
    assert all(len(row["text"]) > 200 for row in rows)


def test_a_page_in_another_encoding_is_read_by_what_it_declares() -> None:
    body = "<p>" + "Größe und Gewicht der Bücher stehen über der Tür, für jeden gut lesbar. " * 5 + "</p>"
    page = f'<html><head><meta charset="iso-8859-1"></head><body>{body}</body></html>'.encode("latin-1")
    assert "Größe und Gewicht der Bücher" in str(main_text(page))
    ((_, found),) = main_texts([(1, Page(page))])
    assert "Größe und Gewicht der Bücher" in str(found.text)


def test_a_page_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    good = b"<html><body><p>" + b"A page that says enough to be kept as a text. " * 9 + b"</p></body></html>"
    slow = b"<html><body>" + b"<p>some words of a page <b>in bold</b> and more</p>" * 200_000 + b"</body></html>"
    found = dict(main_texts([("a", Page(good)), ("slow", Page(slow)), ("b", Page(good))], seconds=3))
    assert "within 3 s" in str(found["slow"].problem)
    assert found["a"].text and found["a"].text == found["b"].text


@pytest.mark.parametrize(
    "page", [b"\0" * 99, b"<" * 9999, b"<a>" * 99_999, b"\xff\xfe<\0p\0>\0", b"<!DOCTYPE x [" * 99]
)
def test_broken_pages_have_no_text_and_do_no_harm(page: bytes) -> None:
    ((_, found),) = main_texts([(1, Page(page, "http://a.test/"))])
    assert found.text is None and found.problem
