"""What the routes share: the model being served, the desk that answers, the logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_assets.serving.admission import Admission
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.constraints import Grammars
from llm_assets.serving.desk import Desk
from llm_assets.serving.drain import Drain
from llm_assets.serving.encoder_engine import EncoderEngine
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch, Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.traffic import TrafficLog


@dataclass(frozen=True)
class Service:
    home: Path
    settings: ServingConfig
    metrics: Metrics
    desk: Desk
    encoder: EncoderEngine
    traffic: TrafficLog
    watch: PackageWatch
    grammars: Grammars
    drain: Drain
    admission: Admission

    def current(self) -> Served | ServedEncoder:
        """The package in use; ApiError 503 while there is none."""
        if self.watch.current is None:
            why = self.watch.error or ("the model is loading" if self.watch.loading else "no model is deployed yet")
            raise ApiError(503, why, "server_error", code="model_not_ready", headers={"retry-after": "1"})
        return self.watch.current

    def served(self) -> Served:
        """The package in use, to generate with; ApiError 400 where it is an encoder."""
        found = self.current()
        if isinstance(found, ServedEncoder):
            raise _cannot(found, "generate text: use /v1/embeddings" + (" or /v1/classify" * bool(found.model.labels)))
        return found

    def served_encoder(self) -> ServedEncoder:
        """The package in use, to encode with; ApiError 400 where it is not an encoder."""
        found = self.current()
        if isinstance(found, Served):
            raise _cannot(found, "embed or classify: use /v1/chat/completions or /v1/completions")
        return found


def _cannot(served: Served | ServedEncoder, what: str) -> ApiError:
    return ApiError(400, f"model {served.names[0]!r} cannot {what}", param="model", code="model_not_supported")
