"""llama.cpp's own server, as `llama-server --parallel 16` batches continuously."""

from __future__ import annotations

from pathlib import Path

BODY = {"cache_prompt": False}


def command(binary: Path, model: Path, port: int, threads: int) -> list[str]:
    return [
        *(str(binary), "--model", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("--threads", str(threads), "--threads-batch", str(threads), "--parallel", "16", "--ctx-size", "8192"),
        *("--no-webui", "--log-disable", "--cache-ram", "0"),
    ]
