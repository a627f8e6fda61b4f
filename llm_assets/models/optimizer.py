"""Muon for hidden matrices and AdamW for everything else, as one torch optimizer.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces a matrix's momentum by the nearest
orthogonal one, found by five Newton-Schulz steps. `torch.optim.Muon` takes these in bfloat16, which a CPU without
bf16 instructions emulates, 7 to 11 times slower than in fp32 (measured). Ours takes them in the weights' type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_assets.models.config import OptimizerConfig

if TYPE_CHECKING:
    import torch

MOMENTUM, BETAS = 0.95, (0.9, 0.99)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: quick, singular values end within [0.7, 1.2]


def make_optimizer(model: Any, config: OptimizerConfig, steps: int) -> tuple[Any, Any]:
    """(optimizer, schedule by step) of a causal LM with tied or untied embeddings."""
    import torch

    outer = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    trained = [p for p in model.parameters() if p.requires_grad]
    embeddings = [p for p in trained if id(p) in outer]
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in outer]
    vectors = [p for p in trained if p.ndim != 2]
    muon = config.muon_rate > 0
    groups = [
        {"params": embeddings, "lr": config.embedding_rate, "weight_decay": config.weight_decay, "muon": False},
        {"params": vectors, "lr": config.hidden_rate, "weight_decay": 0.0, "muon": False},
        {
            "params": matrices,
            "lr": config.muon_rate if muon else config.hidden_rate,
            "weight_decay": config.weight_decay,
            "muon": muon,
        },
    ]
    optimizer = _muon_adamw([group for group in groups if group["params"]])
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, config.warmup))


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Share of the peak rate at `step` (from 0): it rises over `warmup` of the steps, then falls to zero."""
    rise = max(1.0, warmup * steps)
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1.0, steps - rise)))


def _muon_adamw(groups: list[dict[str, Any]]) -> Any:
    import torch

    class MuonAdamW(torch.optim.AdamW):
        """AdamW whose groups marked `muon` take Muon's step instead."""

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            groups: list[dict[str, Any]] = self.param_groups  # type: ignore[has-type]
            self.param_groups = [group for group in groups if not group["muon"]]
            try:
                super().step()
            finally:
                self.param_groups = groups
            for group in groups:
                for weight in group["params"] if group["muon"] else ():
                    if weight.grad is not None:
                        self._muon_step(weight, weight.grad, group["lr"], group["weight_decay"])
            return loss

        def _muon_step(self, weight: torch.Tensor, gradient: torch.Tensor, rate: float, decay: float) -> None:
            momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, MOMENTUM))
            weight.mul_(1 - rate * decay)
            weight.add_(update, alpha=-rate * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)

    return MuonAdamW(groups, lr=1.0, betas=BETAS, fused=True)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthonormal rows or columns: `U V^T` of `matrix = U S V^T`."""
    import torch

    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
