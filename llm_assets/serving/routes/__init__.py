"""The routes. Each module has `router(service)`, the routes of one concern; `ROUTERS` is all of them."""

from llm_assets.serving.routes import completions, encoder, feedback, health, labels, models, pages, tokens

ROUTERS = (
    completions.router,  # a request looks for its route in this order
    encoder.router,
    health.router,
    pages.router,
    models.router,
    tokens.router,
    feedback.router,
    labels.router,
)
