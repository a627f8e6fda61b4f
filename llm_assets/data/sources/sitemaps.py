"""URLs of sitemaps (sitemaps.org 0.9): XML or text, packed or not, and indices of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

from llm_assets.data.sources.http import FetchProblem, unpacked

LIMIT = 50 * 2**20  # the protocol's own


def sitemap_urls(body: bytes) -> Iterator[tuple[str, bool]]:
    """(URL, whether it is that of a further sitemap). Raises FetchProblem when the file is no sitemap."""
    from lxml import etree

    if body[:2] == b"\x1f\x8b":
        body = unpacked(body, {"content-encoding": "gzip"}, LIMIT)
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        for line in body.decode("utf-8-sig", "replace").split():
            if line.startswith(("http://", "https://")):
                yield line, False
        return
    options = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
    try:
        for _, element in etree.iterparse(io.BytesIO(body), events=("end",), **options):
            name = etree.QName(element).localname if isinstance(element.tag, str) else ""
            if name == "loc" and element.text and element.getparent() is not None:
                yield element.text.strip(), etree.QName(element.getparent()).localname == "sitemap"
            elif name in ("url", "sitemap"):
                element.clear()
    except etree.XMLSyntaxError as error:
        raise FetchProblem("sitemap", f"not a sitemap ({error})") from None
