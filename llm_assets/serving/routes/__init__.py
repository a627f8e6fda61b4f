"""The routes. Each module has `router(service)`, the routes of one concern; `ROUTERS` is all of them."""

from llm_assets.serving.routes import completions, encoder, feedback, health, models, pages

ROUTERS = (health.router, pages.router, models.router, completions.router, encoder.router, feedback.router)
