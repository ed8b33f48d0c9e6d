"""Optimizers and learning-rate schedules of the papers."""

from __future__ import annotations

from math import ceil, cos, pi
from typing import Any

import torch

from cotdistill.config import TrainingOptions


def optimizer_for(model: Any, options: TrainingOptions) -> torch.optim.Optimizer:
    """The optimizer over the parameters that are trained; biases and norms are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if options.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        # SCOTT's settings: a given rate, neither relative steps nor parameter scaling.
        adafactor: torch.optim.Optimizer = Adafactor(  # type: ignore[no-untyped-call]
            trained,
            lr=options.lr,
            scale_parameter=False,
            relative_step=False,
            warmup_init=False,
            weight_decay=options.weight_decay,
        )
        return adafactor
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=options.lr, betas=options.betas, fused=True
    )


def clip_in_step(model: Any, optimizer: torch.optim.Optimizer, limit: float) -> None:
    """Clip the gradients' norm to `limit` inside the fused update, which divides by `grad_scale` as it reads them.

    Spares the pass over all gradients that clip_grad_norm_ makes before it.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.grad_scale = (norm / limit).clamp(min=1.0)  # type: ignore[attr-defined]


def learning_rate(options: TrainingOptions, step: int, steps: int, epoch: int = 0) -> float:
    """Linear warm-up over `warmup` * steps, then constant, linear to 0, half a cosine to 0, or a factor per epoch.

    `epoch`: passes over the rows that are complete.
    """
    warm = ceil(options.warmup * steps)
    if step < warm:
        return options.lr * (step + 1) / warm
    if options.schedule == "step":
        return options.lr * options.step_decay**epoch
    done = (step - warm) / max(1, steps - warm)
    return options.lr * {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + cos(pi * done))}[options.schedule]
