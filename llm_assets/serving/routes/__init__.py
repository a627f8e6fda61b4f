"""The routes. Each module has `add(app, service)`: the routes of one concern."""

from fastapi import FastAPI

from llm_assets.serving.direct import DirectRoute
from llm_assets.serving.routes import completions, encoder, feedback, health, labels, models, pages, tokens
from llm_assets.serving.service import Service


def add_routes(app: FastAPI, service: Service) -> None:
    """All of them, in the order in which a request looks for its own; on the application itself, as routers that it
    includes are searched twice."""
    app.router.route_class = DirectRoute
    for module in (completions, encoder, health, pages, models, tokens, feedback, labels):
        module.add(app, service)
