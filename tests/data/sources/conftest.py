"""A real web site on loopback, and pages for it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def articles(real_data: Path) -> dict[str, bytes]:
    """The first pages of the article set, by name."""
    paths = sorted((real_data / "web_articles" / "html").glob("*.html.gz"))[:8]
    return {path.name.partition(".")[0][:12]: gzip.decompress(path.read_bytes()) for path in paths}
