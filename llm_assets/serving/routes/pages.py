"""Pages for people: one file each, nothing from elsewhere."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from llm_assets.serving.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    async def chat() -> HTMLResponse:
        return _page("chat.html")

    return routes


def _page(name: str) -> HTMLResponse:
    page = resources.files("llm_assets.serving").joinpath(f"pages/{name}").read_text(encoding="utf-8")
    inline = "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    policy = f"default-src 'self'; img-src data:; {inline}; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy, "cache-control": "no-store"})
