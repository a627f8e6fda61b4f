"""Crawls in WARC and WET, from Common Crawl's samples."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from llm_assets.data.config import Files
from llm_assets.data.sources.read import Count, read_source
from llm_assets.errors import UserError


def rows(path: Path, home: Path) -> tuple[list[dict[str, object]], Count]:
    count = Count("files")
    source = Files(paths=[str(path)], max_rejected_share=1)
    return [row for batch in read_source(source, home, count=count) for row in batch.documents.to_pylist()], count


def test_warc_and_wet_of_one_page(real_data: Path, tmp_path: Path) -> None:
    plain, _ = rows(real_data / "warc" / "whirlwind.warc", tmp_path)
    packed, _ = rows(real_data / "warc" / "whirlwind.warc.gz", tmp_path)
    wet, _ = rows(real_data / "warc" / "whirlwind.warc.wet.gz", tmp_path)
    assert packed == plain
    (page,), (text,) = plain, wet
    assert page["uri"] == text["uri"] == "https://an.wikipedia.org/wiki/Escopete"
    assert page["fetched_at"] == datetime.fromisoformat("2024-05-18T01:58:10Z")
    assert "Escopete" in str(page["text"]) and "Escopete" in str(text["text"])
    assert len(str(page["text"])) < len(str(text["text"])), "the page's main text is without its navigation"


def test_a_cut_warc_says_so(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "warc" / "whirlwind.warc").read_bytes()
    (tmp_path / "cut.warc").write_bytes(whole[:60_000])
    with pytest.raises(UserError, match=r"cut\.warc.*shorter than its header says"):
        rows(tmp_path / "cut.warc", tmp_path)
