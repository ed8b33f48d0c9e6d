"""Float32 matrix products on a CPU by the library that has the kernels for it.

torch multiplies float32 with MKL, which keeps its AVX-512 kernels to Intel's processors; oneDNN, in every torch
too, has them for all: twice MKL's rate on an AMD EPYC (Zen 5), in the same precision. oneDNN compiles a kernel
for each shape it meets (a millisecond, and half a megabyte that is kept), so numbers of rows, which change from
one micro-batch to the next, are cut to few; MKL multiplies what is left of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cotdistill.students.forwards import replaced

LEAST = 1 << 20  # multiplications; of smaller products a call to oneDNN takes more time than it spares
EXACT = 2e-6  # relative distance from float64: float32 keeps it, bfloat16 is far from it


def linear_layers(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block the model's linear layers multiply with the functions below, backward passes too."""
    layers = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    return replaced({layer: partial(_linear, layer, layer.forward) for layer in layers if onednn_leads()})


def rows_times(rows: Tensor, matrix: Tensor, out: Tensor | None = None) -> Tensor:
    """rows [N, K] @ matrix [K, M] -> [N, M]."""
    if out is None:
        out = rows.new_empty(len(rows), matrix.shape[1])
    first = _share(rows, matrix)
    if first:
        with _onednn():
            torch.mm(rows[:first], matrix, out=out[:first])
    if first < len(rows):
        torch.mm(rows[first:], matrix, out=out[first:])
    return out


def rows_summed(left: Tensor, right: Tensor, out: Tensor, add: bool = False) -> Tensor:
    """left [N, K].T @ right [N, M] -> `out` [K, M], a weight's gradient; `add`: to what `out` holds.

    `out` may be wider than the factors.
    """
    first = _share(left, right)
    if first:
        with _onednn():
            _mm(left[:first].t(), right[:first], out, add)
    if first < len(left):
        _mm(left[first:].t(), right[first:], out, add or first > 0)
    return out


def rounded_up(rows: int) -> int:
    """The next number of rows that is not cut."""
    step = _step(rows) if onednn_leads() else 1
    return -(-rows // step) * step


@cache
def onednn_leads() -> bool:
    """Whether oneDNN has kernels that MKL keeps from this processor, tried for float32's precision.

    torch turns to oneDNN where bfloat16 would do; without instructions for bfloat16 matrices (AMX) that is
    still float32.
    """
    cpu = Path("/proc/cpuinfo")
    both = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    wide = both and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (wide and cpu.exists() and "AuthenticAMD" in cpu.read_text()):
        return False
    sample = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    with _onednn():
        found = (sample @ sample).double()
    exact = sample.double() @ sample.double()
    return float((found - exact).norm() / exact.norm()) < EXACT


@contextmanager
def _onednn() -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _share(left: Tensor, right: Tensor) -> int:
    """How many of the left's rows oneDNN multiplies."""
    small = left.numel() * right.shape[1] < LEAST
    if small or left.device.type != "cpu" or left.dtype != torch.float32 or not onednn_leads():
        return 0
    return len(left) - len(left) % _step(len(left))


def _step(rows: int) -> int:
    """Numbers of rows are cut to multiples of this power of two: at most eight up to each doubling."""
    return max(16, 1 << max(0, rows.bit_length() - 4))


def _mm(left: Tensor, right: Tensor, out: Tensor, add: bool) -> None:
    if out.dtype != left.dtype:
        out.add_(left @ right) if add else out.copy_(left @ right)
    elif add:
        out.addmm_(left, right)
    else:
        torch.mm(left, right, out=out)


def _linear(layer: Any, otherwise: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    out_first = isinstance(layer, nn.Linear)
    matrix = layer.weight.t() if out_first else layer.weight
    if not _share(_flat(states), matrix) or torch.is_autocast_enabled("cpu"):
        return otherwise(states)
    made: Tensor = _Linear.apply(states, layer.weight, layer.bias, out_first)  # type: ignore[no-untyped-call]
    return made


class _Linear(torch.autograd.Function):
    """states [..., K] times a weight, [M, K] where `out_first` and else [K, M], plus bias [M]."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, out_first: bool) -> Tensor:
        ctx.save_for_backward(states, weight)
        ctx.out_first = out_first
        made = rows_times(_flat(states), weight.t() if out_first else weight)
        if bias is not None:
            made += bias
        return made.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, weight = ctx.saved_tensors
        slope, rows = _flat(upstream[0]), _flat(states)
        grad_states = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_states = rows_times(slope, weight if ctx.out_first else weight.t()).view(states.shape)
        if ctx.needs_input_grad[1]:
            pair = (slope, rows) if ctx.out_first else (rows, slope)
            grad_weight = rows_summed(*pair, out=torch.empty_like(weight))
        if ctx.needs_input_grad[2]:
            grad_bias = slope.sum(0)
        return grad_states, grad_weight, grad_bias, None


def _flat(states: Tensor) -> Tensor:
    return states.reshape(-1, states.shape[-1])
