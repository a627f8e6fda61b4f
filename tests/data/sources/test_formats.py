"""Every format, packed in every way, found by a glob: the same documents as from the plain file."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_assets.data.acquire import read_sources
from llm_assets.data.config import Files

ROWS = [{"text": f"a line that is the text of row {n}, übrigens", "label": "ab"[n % 2]} for n in range(9)]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd
}  # fmt: skip


def table(separator: str) -> bytes:
    lines = [["text", "label"], *([row["text"], row["label"]] for row in ROWS)]
    quoted = separator == ","
    return "".join(separator.join(f'"{cell}"' if quoted else cell for cell in line) + "\n" for line in lines).encode()


def contents(folder: Path) -> dict[str, bytes]:
    """One file of each format; a page and a crawl are of the shared data."""
    page = sorted((folder / "web_articles" / "html").glob("*.html.gz"))[0]
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    return {
        "jsonl": lines,
        "ndjson": lines,
        "json": json.dumps(ROWS).encode(),
        "csv": table(","),
        "tsv": table("\t"),
        "txt": "\n".join(row["text"] for row in ROWS).encode(),
        "md": b"# A title\n\nAnd what is said under it.\n",
        "html": gzip.decompress(page.read_bytes()),
        "htm": gzip.decompress(page.read_bytes()),
        "warc": (folder / "warc" / "whirlwind.warc").read_bytes(),
        "wet": gzip.decompress((folder / "warc" / "whirlwind.warc.wet.gz").read_bytes()),
    }


TABLES = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet")


@pytest.mark.parametrize(
    "kind", ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt", "md", "html", "htm", "warc", "wet"]
)
def test_a_format_packed_in_any_way(kind: str, real_data: Path, tmp_path: Path) -> None:
    found = {}
    for packing, pack in PACKERS.items() if kind != "parquet" else [("", bytes)]:
        below = tmp_path / "corpus" / "deep" / "er"
        below.mkdir(parents=True)
        path = below / f"some.{kind}{packing}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        else:
            path.write_bytes(pack(contents(real_data)[kind]))
        source = Files(
            paths=[f"{tmp_path}/corpus/**/*.{kind}*"],
            label_column="label" if kind in TABLES else None,
            max_rejected_share=0.9,
        )
        made = read_sources([source], tmp_path)
        found[packing] = made.select(["text", "label", "fetched_at"]).to_pylist()
        shutil.rmtree(tmp_path / "corpus")
    assert found[""] and all(rows == found[""] for rows in found.values())
    if kind in TABLES:
        assert [{"text": row["text"], "label": row["label"]} for row in found[""]] == ROWS
    elif kind == "txt":
        assert [row["text"] for row in found[""]] == [row["text"] for row in ROWS]
    else:
        assert len(found[""]) == 1 and len(found[""][0]["text"]) > 20
