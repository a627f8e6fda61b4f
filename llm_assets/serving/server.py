"""`python -m llm_assets.serving.server`: the endpoint's process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from llm_assets.serving.app import build_app
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.connections import Connection
from llm_assets.serving.drain import Drain
from llm_assets.serving.logs import log_as_json

SETTINGS = "settings.json"
SWITCH_SECONDS = 0.0005
GARBAGE = 10_000  # objects more than before, after which cycles are looked for; Python's 700 are there every 8 requests
MODEL_MODULES = ("numpy", "onnx", "onnxruntime", "tokenizers")  # that loading a package imports


class Server(uvicorn.Server):
    """Ends on SIGTERM or SIGINT after its requests have, with exit status 0; at once on a second signal."""

    def __init__(self, config: uvicorn.Config, drain: Drain, grace: float) -> None:
        super().__init__(config)
        self._drain, self._grace = drain, grace
        self._ending: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain.begun:
            self.should_exit = True
        else:
            self._drain.begun = True
            asyncio.get_running_loop().call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        await self._drain.finish(self._grace)
        self.should_exit = True


def main(arguments: list[str] | None = None) -> int:
    """Serve what `HOME/endpoint/current.json` points at until SIGTERM; the settings come from
    `HOME/endpoint/settings.json`, where there is one."""
    parser = argparse.ArgumentParser(prog="python -m llm_assets.serving.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the state folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the model")
    given = parser.parse_args(arguments)
    log_as_json()
    path = given.home / "endpoint" / SETTINGS
    settings = (
        ServingConfig.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else ServingConfig()
    )
    app = build_app(given.home.absolute(), settings, given.threads)
    # The engine's thread must not wait long for the interpreter while this one answers many.
    sys.setswitchinterval(SWITCH_SECONDS)
    _settle()
    config = uvicorn.Config(
        app,
        host=given.host,
        port=given.port,
        http=Connection,
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = Server(config, app.state.service.drain, settings.drain_seconds)
    server.run()
    return 0 if server.started else 1


def _settle() -> None:
    """Take what is here to stay out of garbage collection: looking through it would stop all replies for 20 to 50 ms
    now and then."""
    for name in MODEL_MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


if __name__ == "__main__":
    sys.exit(main())
