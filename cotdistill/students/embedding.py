"""The gradient of an embedding, added to the rows that were read.

Autograd hands on a zeroed [V, D] for every use of the table, to be added to its .grad: for a small model with a
large vocabulary that is much of a micro-batch's memory, and T5 uses one table three times.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotdistill.students.forwards import replaced


def rows_added(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block a backward pass adds to `.grad` of the model's trained embeddings directly.

    Nobody else sees that gradient: not for DDP, whose hooks wait for it, nor for a loss scaled afterwards.
    """
    tables = [module for module in model.modules() if type(module) is nn.Embedding and _trained(module)]
    return replaced({table: partial(_look_up, table) for table in tables})


def _trained(table: nn.Embedding) -> bool:
    plain = table.max_norm is None and not table.sparse and not table.scale_grad_by_freq
    return plain and table.weight.is_leaf and table.weight.requires_grad


def _look_up(table: nn.Embedding, ids: Tensor) -> Tensor:
    rows: Tensor = _Rows.apply(ids, table.weight, table.padding_idx)  # type: ignore[no-untyped-call]
    return rows


class _Rows(torch.autograd.Function):
    """weight[ids], whose backward pass adds [ids, D] to weight.grad [V, D] and hands nothing on."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None) -> Tensor:
        ctx.ids, ctx.weight, ctx.padding = ids, weight, padding
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, None, None]:
        ids, weight = ctx.ids.reshape(-1), ctx.weight
        rows = upstream[0].reshape(len(ids), -1).to(weight.dtype)
        if ctx.padding is not None:  # the row of padding is never learned
            rows = rows.masked_fill((ids == ctx.padding)[:, None], 0)
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, ids, rows)
        return None, None, None
