"""Linear layers over the few rows of a small decoding step: on a CPU the weight goes first, weight @ states.T.

One step feeds a row per lane. For 2 to 4 float32 rows MKL reads a large weight up to twice as slowly in the order that
`nn.Linear` asks for, states @ weight.T, as in the other one: with [49152, 576], the head of SmolLM2-135M, 2 rows take
24 ms against 12, 4 take 31 against 16 (one core of an AMD EPYC, AVX2 only). Whole steps of that model are 1.1x to 1.3x
as fast; from 8 rows on nothing was gained. The result is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from cotdistill.students.forwards import replaced

ROWS = range(2, 5)  # one row is a matrix times a vector either way
LEAST = 1 << 18  # weights of a layer: smaller ones stay in the processor's cache, and the order is all the same


def narrow_products(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block the model's large float32 layers on a CPU multiply few rows weight first."""
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and _fits(layer.weight)]
    return replaced({layer: partial(_linear, layer, layer.forward) for layer in layers})


def _fits(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LEAST


def _linear(layer: nn.Linear, otherwise: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """states [..., K] -> [..., M]."""
    rows = states.reshape(-1, states.shape[-1])
    if len(rows) not in ROWS or torch.is_grad_enabled():
        return otherwise(states)
    # Contiguous before and after: MKL is three times as slow over rows that lie in columns.
    product = torch.mm(layer.weight, rows.contiguous().t()).t().contiguous()
    if layer.bias is not None:
        product += layer.bias
    return product.view(*states.shape[:-1], -1)
