"""A signal's divergence through a linear head, in chunks with its gradient: what is scored beside the nll's own chunks.

The student's own texts (`on_policy`) have no nll, and the teacher's distribution over them is as large as the
student's: both are made of hidden states a chunk at a time, so that nothing of size [M, V] is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cotdistill.training.kd import Signal
from cotdistill.training.loss import cast_head, rows_at_once


def weighted_divergence(hidden: Tensor, weight: Tensor, bias: Tensor | None, signal: Signal) -> tuple[Tensor, Tensor]:
    """A linear head's (sum of coef * divergence; divergence [M] without gradient); hidden [M, D], weight [V, D]."""
    total, each = _Weighted.apply(hidden, weight, bias, signal)  # type: ignore[no-untyped-call]
    return total, each


class _Weighted(torch.autograd.Function):
    """Forward computes the gradient too, for an upstream gradient of 1; backward only scales it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, signal: Signal) -> tuple[Tensor, Tensor]:
        head = cast_head(hidden, weight)
        wants = ctx.needs_input_grad[:3]
        grads = [
            torch.zeros_like(x) if want and x is not None else None
            for x, want in zip((hidden, weight, bias), wants, strict=True)
        ]
        each = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        size = rows_at_once(len(head), head.device.type)
        for first in range(0, len(hidden), size):
            part = slice(first, first + size)
            states = hidden[part].to(head.dtype)
            with torch.enable_grad():
                logits = (states @ head.t()).float()
                if bias is not None:
                    logits += bias
                logits = logits.detach().requires_grad_()
                values = signal.values(logits, part)
                (slope,) = torch.autograd.grad((signal.coef[part] * values).sum(), logits)
            each[part] = values.detach()
            narrow = slope.to(head.dtype)
            if grads[0] is not None:
                grads[0][part] = narrow @ head
            if grads[1] is not None:
                grads[1] += narrow.t() @ states
            if grads[2] is not None:
                grads[2] += slope.sum(0)
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(each)
        return (signal.coef * each).sum(), each

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream[0]
        return (*(None if grad is None else grad * scale.to(grad.dtype) for grad in ctx.saved_tensors), None)
