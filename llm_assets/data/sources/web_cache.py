"""Pages as they were fetched, so that an unchanged one is not sent again. May be removed at any time."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from pathlib import Path

from llm_assets.data.sources.http import Answer


class WebCache:
    """One file a URL, under `folder`; only pages by whose headers the server can tell that they are unchanged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, url: str) -> Answer | None:
        """The last answer of `url`; None where there is none, or it is damaged."""
        try:
            head, _, body = self._path(url).read_bytes().partition(b"\n")
            known = json.loads(head)
            page = zlib.decompress(body)
            if known["url"] != url or hashlib.sha256(page).hexdigest() != known["sha256"]:
                return None
        except (OSError, ValueError, KeyError, zlib.error):
            return None
        return Answer(url, 200, known["headers"], page, page)

    def store(self, answer: Answer) -> None:
        """Keep an answer of status 200 that names its version."""
        if answer.status != 200 or not conditions(answer):
            return
        path = self._path(answer.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(answer.body).hexdigest()
        kept = {name: value for name, value in answer.headers.items() if name in KEPT}
        head = json.dumps({"url": answer.url, "headers": kept, "sha256": digest})
        partial = path.with_name(f"{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
        try:
            partial.write_bytes(head.encode() + b"\n" + zlib.compress(answer.body, 3))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self._folder / name[:2] / name


KEPT = ("etag", "last-modified", "content-type", "x-robots-tag")


def conditions(answer: Answer | None) -> dict[str, str]:
    """The headers that ask for a page only if it is another than `answer`."""
    if answer is None:
        return {}
    pairs = (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
    return {name: answer.headers[key] for name, key in pairs if key in answer.headers}
