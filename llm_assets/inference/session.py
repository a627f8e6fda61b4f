"""One ONNX Runtime session, set up as every model of this project is run on a CPU."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError


def open_session(model: Path | bytes, threads: int, without: Collection[str] = ()) -> Any:
    """An `onnxruntime.InferenceSession` of the file, or of a graph in memory. without: names of ONNX Runtime's graph
    optimizers. Raises UserError when it cannot be loaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads spin from one node to the next (sleeping there costs a seventh of a step), but not from one step to the
    # next: a waiting thread must not burn the core that the rest of a two-core machine needs.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "100")
    source, name = (model, "the graph") if isinstance(model, bytes) else (str(model), str(model))
    try:
        session = onnxruntime.InferenceSession(
            source, options, ["CPUExecutionProvider"], disabled_optimizers=list(without)
        )
    except Exception as error:
        raise not_loaded(name, error) from error
    # It keeps the graph, which is as large as its weights, to begin again with other providers; here is one.
    session._model_bytes = None
    return session


def not_loaded(name: object, error: Exception) -> UserError:
    return UserError(f"{name} cannot be loaded: {error}. Export the package again.")
