"""The routes. Each module has `router(service)`, the routes of one concern; `ROUTERS` is all of them."""

from llm_assets.serving.routes import completions, encoder, feedback, health, labels, models, pages, tokens

ROUTERS = (
    health.router,
    pages.router,
    models.router,
    completions.router,
    encoder.router,
    tokens.router,
    feedback.router,
    labels.router,
)
