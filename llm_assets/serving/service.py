"""What the routes share: the model being served, the desk that answers, the logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.constraints import Grammars
from llm_assets.serving.desk import Desk
from llm_assets.serving.drain import Drain
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch, Served
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.traffic import TrafficLog


@dataclass(frozen=True)
class Service:
    home: Path
    settings: ServingConfig
    metrics: Metrics
    desk: Desk
    traffic: TrafficLog
    watch: PackageWatch
    grammars: Grammars
    drain: Drain

    def served(self) -> Served:
        """The package in use; ApiError 503 while there is none."""
        if self.watch.current is None:
            why = self.watch.error or ("the model is loading" if self.watch.loading else "no model is deployed yet")
            raise ApiError(503, why, "server_error", code="model_not_ready", headers={"retry-after": "1"})
        return self.watch.current
