"""`python -m llm_assets.serving.server`: the endpoint's process."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from llm_assets.serving.config import ServingConfig

SETTINGS = "settings.json"


def main(arguments: list[str] | None = None) -> int:
    """Serve what `HOME/endpoint/current.json` points at until SIGTERM; the settings come from
    `HOME/endpoint/settings.json`, where there is one."""
    parser = argparse.ArgumentParser(prog="python -m llm_assets.serving.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the state folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the model")
    given = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    import uvicorn

    from llm_assets.serving.app import build_app

    path = given.home / "endpoint" / SETTINGS
    settings = (
        ServingConfig.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else ServingConfig()
    )
    uvicorn.run(
        build_app(given.home.absolute(), settings, given.threads),
        host=given.host,
        port=given.port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
