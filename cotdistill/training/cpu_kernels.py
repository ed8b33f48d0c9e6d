"""What training does on a CPU beside plain PyTorch, and nothing else knows of: remove it, and all still runs.

Three kernels, each the same numbers up to rounding; COTDISTILL_CPU_KERNELS=off does without them:

- **products**: float32 matrix products by oneDNN where torch's own library (MKL) keeps its AVX-512 kernels to
  Intel's processors, as on an AMD EPYC of Zen 4 and 5. oneDNN is in every torch too. It compiles a kernel for each
  shape it meets (a millisecond, and half a megabyte that is kept), so numbers of rows, which change from one
  micro-batch to the next, are cut to few; MKL multiplies what is left of them.
- **vocabulary**: the gradients of embeddings and head are added to `.grad` in place. Autograd hands on a zeroed
  [V, D] for every use of the table: for a small model with a large vocabulary that is much of a micro-batch's
  memory, and T5 uses one table three times.
- **heap**: C's heap keeps what a step frees for the next one, which asks for the same again.

What each was worth when it was recorded, a training step with it against one without:

    processor                      products                    vocabulary                      heap
    AMD EPYC with AVX-512          1.6x                        1.02x to 1.08x, memory 2/3      1.1x, small models
    AMD EPYC with AVX2 (Zen 3)     not used: needs AVX-512     not measured                    not measured

`python -m tests.benchmarks cpu_kernels` measures them on the processor at hand.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cotdistill.students.encode import TokenTree
from cotdistill.students.forwards import replaced
from cotdistill.training.loss import TORCH, Products, product_into, rows_at_once

SWITCH = "COTDISTILL_CPU_KERNELS"
LEAST = 1 << 20  # multiplications; of smaller products a call to oneDNN takes more time than it spares
EXACT = 2e-6  # relative distance from float64: float32 keeps it, bfloat16 is far from it


def switched_on() -> bool:
    """Whether the environment lets training on a CPU use this file."""
    return os.environ.get(SWITCH, "on").lower() not in ("off", "0", "no", "false")


@dataclass(frozen=True)
class CpuKernels:
    """Which kernels a training loop uses: none by default."""

    loss: bool = False  # products of the loss
    layers: bool = False  # products of the model's linear layers
    vocabulary: bool = False  # needs `loss`; only where gradients are not scaled, reduced or waited for on the way

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model's linear layers and embeddings run by them inside the block."""
        with ExitStack() as stack:
            if self.vocabulary:
                stack.enter_context(rows_added(model))
            if self.layers:
                stack.enter_context(linear_layers(model))
            yield

    def products(self, model: Any, batches: Sequence[Sequence[TokenTree]]) -> Products:
        """What the loss multiplies with in the micro-batches of one optimizer step of `model`."""
        if not self.vocabulary:
            return CpuProducts() if self.loss else TORCH
        most = max(sum(len(tree.tokens) for tree in batch) for batch in batches)
        return InPlaceProducts(most, len(model.get_output_embeddings().weight))


class CpuProducts(Products):
    """The loss's products by oneDNN where it leads."""

    def rounded_up(self, rows: int) -> int:
        """To a number that `rows_times` does not cut."""
        step = _step(rows) if onednn_leads() else 1
        return -(-rows // step) * step

    def logits(self, states: Tensor, head: Tensor) -> Tensor:
        """See `rows_times`."""
        return rows_times(states, head.t()).float()

    def times(self, slope: Tensor, head: Tensor) -> Tensor:
        """See `rows_times`."""
        return rows_times(slope, head)

    def sum_outer(self, slope: Tensor, states: Tensor, out: Tensor, add: bool) -> None:
        """See `rows_summed`."""
        rows_summed(slope, states, out, add)


class InPlaceProducts(CpuProducts):
    """What the micro-batches of one optimizer step share: the memory of a chunk of logits, and the head's gradient,
    which is added to its .grad already in the forward pass.

    For a sum that is differentiated as it is, once. Allocated before any activation: blocks of [n, V] and [V, D] that
    come and go among them leave holes in C's heap.
    """

    def __init__(self, targets: int, vocabulary: int) -> None:
        """`targets`: the most that a micro-batch of the step has."""
        rows = self.rounded_up(min(targets, rows_at_once(vocabulary, "cpu")))
        self._logits = torch.empty(rows * vocabulary)

    def logits(self, states: Tensor, head: Tensor) -> Tensor:
        """Overwritten by the next product."""
        out = self._logits[: len(states) * len(head)].view(len(states), len(head))
        if states.dtype != out.dtype:
            return out.copy_(states @ head.t())
        return rows_times(states, head.t(), out)

    def head_gradient(self, weight: Tensor) -> tuple[Tensor, bool]:
        """The weight's own .grad where there is one."""
        return (torch.empty_like(weight), False) if weight.grad is None else (weight.grad, True)

    def handed_on(self, weight: Tensor, gradient: Tensor) -> None:
        """Nothing: autograd would add it once more."""
        weight.grad = gradient


def linear_layers(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block the model's linear layers multiply with the functions below, backward passes too."""
    layers = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    return replaced({layer: partial(_linear, layer, layer.forward) for layer in layers if onednn_leads()})


def rows_times(rows: Tensor, matrix: Tensor, out: Tensor | None = None) -> Tensor:
    """rows [N, K] @ matrix [K, M] -> [N, M]."""
    if out is None:
        out = rows.new_empty(len(rows), matrix.shape[1])
    first = _leading_rows(rows, matrix)
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
    first = _leading_rows(left, right)
    if first:
        with _onednn():
            product_into(left[:first].t(), right[:first], out, add)
    if first < len(left):
        product_into(left[first:].t(), right[first:], out, add or first > 0)
    return out


@cache
def onednn_leads() -> bool:
    """Whether oneDNN has kernels that MKL keeps from this processor, tried for float32's precision.

    torch turns to oneDNN where bfloat16 would do; without instructions for bfloat16
    matrices (AMX) that is still float32.
    """
    cpu = Path("/proc/cpuinfo")
    both = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    both = both and hasattr(torch.backends.mkldnn, "matmul")  # the oldest torch that we allow has no such setting
    wide = both and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (wide and cpu.exists() and "AuthenticAMD" in cpu.read_text()):
        return False
    sample = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    with _onednn():
        product = (sample @ sample).double()
    exact = sample.double() @ sample.double()
    return float((product - exact).norm() / exact.norm()) < EXACT


@contextmanager
def _onednn() -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _leading_rows(left: Tensor, right: Tensor) -> int:
    """How many of the left's rows oneDNN multiplies."""
    small = left.numel() * right.shape[1] < LEAST
    if small or left.device.type != "cpu" or left.dtype != torch.float32 or not onednn_leads():
        return 0
    return len(left) - len(left) % _step(len(left))


def _step(rows: int) -> int:
    """Numbers of rows are cut to multiples of this power of two: at most eight up to each doubling."""
    return max(16, 1 << max(0, rows.bit_length() - 4))


def _linear(layer: Any, otherwise: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    out_first = isinstance(layer, nn.Linear)
    matrix = layer.weight.t() if out_first else layer.weight
    if not _leading_rows(_flat(states), matrix) or torch.is_autocast_enabled("cpu"):
        return otherwise(states)
    product: Tensor = _Linear.apply(states, layer.weight, layer.bias, out_first)  # type: ignore[no-untyped-call]
    return product


class _Linear(torch.autograd.Function):
    """states [..., K] times a weight, [M, K] where `out_first` and else [K, M], plus bias [M]."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, out_first: bool) -> Tensor:
        # A frozen weight's gradient is all that would read the states (under LoRA they are most of the memory).
        ctx.save_for_backward(states if ctx.needs_input_grad[1] else None, weight)
        ctx.out_first = out_first
        product = rows_times(_flat(states), weight.t() if out_first else weight)
        if bias is not None:
            product += bias
        return product.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, weight = ctx.saved_tensors
        slope = _flat(upstream[0])
        grad_states = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_states = rows_times(slope, weight if ctx.out_first else weight.t()).view(*upstream[0].shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            rows = _flat(states)
            pair = (slope, rows) if ctx.out_first else (rows, slope)
            grad_weight = rows_summed(*pair, out=torch.empty_like(weight))
        if ctx.needs_input_grad[2]:
            grad_bias = slope.sum(0)
        return grad_states, grad_weight, grad_bias, None


def _flat(states: Tensor) -> Tensor:
    return states.reshape(-1, states.shape[-1])


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
    rows: Tensor = _LookUp.apply(ids, table.weight, table.padding_idx)  # type: ignore[no-untyped-call]
    return rows


class _LookUp(torch.autograd.Function):
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


def keep_freed_memory() -> None:
    """Let C's heap keep what a step frees for the next one.

    By default large blocks go back to the kernel, which clears them page by page when they are asked for anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None and switched_on():
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


def trim_heap() -> None:
    """Give back what is free in C's heap, also in its middle."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
