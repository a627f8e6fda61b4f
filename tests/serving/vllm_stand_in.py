"""A program with vLLM's command line: serves a checkpoint with this project's own server, which speaks vLLM's protocol.

It shows that the command is one that vLLM's parser takes, as far as it is repeated here, and that the process is
handled rightly. It shows nothing of vLLM itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    serve = parser.add_subparsers(required=True).add_parser("serve", allow_abbrev=False)
    serve.add_argument("model_tag", type=Path)
    serve.add_argument("--served-model-name", required=True)
    serve.add_argument("--host", required=True)
    serve.add_argument("--port", type=int, required=True)
    serve.add_argument("--load-format", choices=["safetensors"], required=True)
    serve.add_argument("--trust-remote-code", action=argparse.BooleanOptionalAction, required=True)
    serve.add_argument("--generation-config", choices=["vllm"], required=True)
    serve.add_argument("--max-model-len", type=int, required=True)
    serve.add_argument("--gpu-memory-utilization", type=float, required=True)
    serve.add_argument("--structured-outputs-config", type=json.loads, required=True)
    given = parser.parse_args()
    if given.trust_remote_code or given.host != "127.0.0.1":
        raise SystemExit("it must neither trust what a checkpoint brings nor listen to the network")
    if (given.model_tag / "too-large").exists():
        raise SystemExit("CUDA out of memory")
    os.environ["LLM_ASSETS_API_KEY"] = os.environ.pop("VLLM_API_KEY")

    import llm_assets.serving.package

    llm_assets.serving.package.RAW_MODEL = given.served_model_name  # before those who take it from there
    from llm_assets.compression.export import export_package
    from llm_assets.serving import server
    from llm_assets.serving.config import ServingConfig
    from resources.endpoint import Endpoint

    with tempfile.TemporaryDirectory(prefix="vllm-stand-in-") as folder:
        home = Path(folder)
        export_package(given.model_tag, home / "package", "fp32", "aligned_model", {})
        Endpoint(home, ServingConfig(port=given.port), 1).deploy(home / "package", given.served_model_name)
        return server.main(["--home", folder, "--port", str(given.port), "--threads", "1"])


if __name__ == "__main__":
    sys.exit(main())
