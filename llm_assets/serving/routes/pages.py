"""Pages for people: each one document with all it needs inside, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from llm_assets.serving.document import own_headers
from llm_assets.serving.service import Service

PAGES = {"/": "chat.html", "/live": "live.html", "/label": "label.html"}
SHARED = re.compile(r"<!-- include (look\.css|common\.js|header\.html) -->\n")
HEADERS = own_headers(
    content_security_policy="what the page may run and ask for: itself",
    cache_control="no-store",
    referrer_policy="no-referrer",
)
PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "headers": HEADERS}
}
KINDS = ("style", "script")
POLICY = (
    "default-src 'none'", "connect-src 'self'", "img-src data:", "frame-ancestors 'none'", "base-uri 'none'",
    "form-action 'none'",
)  # fmt: skip


def add(app: FastAPI, _: Service) -> None:
    for path, name in PAGES.items():
        app.add_api_route(path, _page(name), methods=["GET"], name=name, response_class=Response, responses=PAGE)


def _page(name: str) -> Callable[[], Awaitable[HTMLResponse]]:
    text = SHARED.sub(lambda found: _file(found[1]), _file(name))
    # The browser runs what the page came with and nothing else: no text of a model or a person can become a script.
    own = {kind: " ".join(map(_digest, re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL))) for kind in KINDS}
    allowed = [f"{kind}-src {digests}" for kind, digests in own.items()]
    headers = {
        "content-security-policy": "; ".join([*POLICY, *allowed]),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }

    async def page() -> HTMLResponse:
        return HTMLResponse(text, headers=headers)

    return page


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.files("llm_assets.serving").joinpath(f"pages/{name}").read_text(encoding="utf-8")
