"""The one loss: sum of coef * nll over targets. A plain reference, and the same in chunks with its gradient.

A target n with hidden state h [D] and token y costs nll = logsumexp(W h) - (W h)[y] with the head W [V, D]. Of
all logits [N, V] only their log-sum-exp and one entry per row are wanted, and V is by far the largest size of a
small model: so the head runs over a chunk of rows at a time, its logits turn into softmax and then into the
gradient in their own memory, and the chunk's part of the gradients of h and W is summed before the next chunk
overwrites it. Heads in chunks are known from Liger Kernel (arXiv 2410.10989) and Cut Cross-Entropy (arXiv 2411.09009).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill.strategies.forms import Reweight
from cotdistill.training.kd import LaidOut, TeacherSignal

CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 512 << 20}  # of float32 logits; on a CPU about what its last cache holds


class Products:
    """The loss's three matrix products, and where the head's gradient is summed: by torch alone.

    A processor's own kernels take its place from outside (training/cpu_kernels.py).
    """

    def rounded_up(self, rows: int) -> int:
        """The next number of rows that the products like."""
        return rows

    def logits(self, states: Tensor, head: Tensor) -> Tensor:
        """states [n, D] @ head [V, D].T -> float32 [n, V], which the caller may overwrite."""
        return (states @ head.t()).float()

    def times(self, slope: Tensor, head: Tensor) -> Tensor:
        """slope [n, V] @ head [V, D] -> [n, D]."""
        return slope @ head

    def sum_outer(self, slope: Tensor, states: Tensor, out: Tensor, add: bool) -> None:
        """slope [n, V].T @ states [n, D] -> `out` [V, D]; `add`: to what `out` holds."""
        product_into(slope.t(), states, out, add)

    def head_gradient(self, weight: Tensor) -> tuple[Tensor, bool]:
        """Where the gradient of `weight` [V, D] is summed, and whether that holds a part of it already."""
        return torch.empty_like(weight), False

    def handed_on(self, weight: Tensor, gradient: Tensor) -> Tensor | None:
        """What autograd adds to weight.grad afterwards."""
        return gradient


TORCH = Products()


def nll_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log softmax(logits)[token] in float32; logits [N, V], tokens [N] -> [N]."""
    wide = logits.float()
    return wide.logsumexp(-1) - wide.gather(1, tokens[:, None])[:, 0]


def weighted_nll(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tokens: Tensor,
    coef: Tensor,
    reweight: Reweight | None = None,
    products: Products = TORCH,
    signal: TeacherSignal | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A linear head's (sum of coef * nll; nll [N]; coef * nll [N]), the last two without gradient; the first and last
    with the teacher's term where there is its `signal`.

    hidden [N, D], weight [V, D], bias [V], tokens [N], coef [N]. `reweight` sees the nll first, which costs one
    more matrix product.
    """
    rows, size = len(tokens), _chunk_size(len(tokens), weight, products)
    spare = -rows % size  # rows that fill the last chunk; their coef is 0
    hidden, tokens = F.pad(hidden, (0, 0, 0, spare)), F.pad(tokens, (0, spare))
    if reweight is not None:
        with torch.no_grad():
            nll = hidden.new_empty(len(tokens), dtype=torch.float32)
            for part, logits, _ in _chunks(hidden, cast_head(hidden, weight), bias, size, products):
                nll[part] = _softmax_nll(logits, tokens[part])[1]
            coef = reweight(coef, nll[:rows])
    laid = None if signal is None else LaidOut.of(signal, rows + spare)
    every = F.pad(coef, (0, spare))
    total, nll, shares = _WeightedNll.apply(hidden, weight, bias, tokens, every, size, products, laid)  # type: ignore[no-untyped-call]
    return total, nll[:rows], shares[:rows]


class _WeightedNll(torch.autograd.Function):
    """Forward computes the gradient too, for an upstream gradient of 1; backward only scales it.

    With p = softmax(W h): d nll / d logits = p - onehot(y), so the gradient of h is coef * (p - onehot(y)) @ W and
    that of W sums (p - onehot(y))[:, None] * coef * h over rows. Done while a chunk's logits are still in memory,
    nothing of size [N, V] has to be kept for the backward pass, nor computed a second time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        coef: Tensor,
        size: int,
        products: Products,
        laid: LaidOut | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        head = cast_head(hidden, weight)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight, begun = products.head_gradient(weight) if needs_weight else (None, False)
        grad_bias = torch.zeros_like(bias) if needs_bias and bias is not None else None
        nll = torch.empty(len(tokens), dtype=torch.float32, device=hidden.device)
        told = torch.zeros_like(nll)
        for part, logits, states in _chunks(hidden, head, bias, size, products):
            scale, share = coef[part], logits.new_ones(len(logits))
            known = None if laid is None else laid.known(part, logits)
            target = logits.gather(1, tokens[part, None])
            slope, nll[part] = _softmax_nll(logits, tokens[part])  # p, in the memory of the logits
            if laid is not None and known is not None:
                known -= nll[part, None] + target
                scale, share, told[part] = laid.fold(part, slope, known, coef[part])
            slope.scatter_add_(1, tokens[part, None], -share[:, None])
            # Every row has its own coef, so a kernel that scales all rows by one gradient is wrong. It multiplies
            # the [n, D] beside the [n, V] in each product: one pass less over the largest, and coef * p cannot
            # underflow in float16.
            narrow, each = slope.to(head.dtype), scale[:, None]
            if grad_hidden is not None:
                grad_hidden[part] = each * products.times(narrow, head)
            if grad_weight is not None:
                scaled = (each * states).to(states.dtype)
                products.sum_outer(narrow, scaled, grad_weight, add=begun or part.start > 0)
            if grad_bias is not None:
                grad_bias += (scale @ slope).to(grad_bias.dtype)
        if grad_weight is not None:
            grad_weight = products.handed_on(weight, grad_weight)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        shares = coef * nll if laid is None else coef * nll + laid.coef * told
        ctx.mark_non_differentiable(nll, shares)
        return shares.sum(), nll, shares

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale, grads = upstream[0], ctx.saved_tensors
        # A factor of one spares a pass over [V, D]; on a GPU asking for it would make the host wait.
        if scale.device.type != "cpu" or scale.item() != 1:
            grads = tuple(None if grad is None else grad * scale.to(grad.dtype) for grad in grads)
        return (*grads, None, None, None, None, None)


def _chunks(
    hidden: Tensor, head: Tensor, bias: Tensor | None, size: int, products: Products
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each `size` rows: where they lie, their float32 logits, their hidden states as the head takes them."""
    for first in range(0, len(hidden), size):
        part = slice(first, first + size)
        states = hidden[part].to(head.dtype)
        logits = products.logits(states, head)
        if bias is not None:
            logits += bias
        yield part, logits, states


def _chunk_size(rows: int, head: Tensor, products: Products) -> int:
    """Chunks of one size, as a thin last one is a slow matrix product."""
    chunks = -(-rows // rows_at_once(len(head), head.device.type))
    return products.rounded_up(-(-rows // chunks))


def rows_at_once(vocabulary: int, device: str) -> int:
    """Most rows of logits that a chunk holds."""
    return max(1, CHUNK_BYTES.get(device, 256 << 20) // (4 * vocabulary))


def product_into(left: Tensor, right: Tensor, out: Tensor, add: bool) -> None:
    """left [K, n] @ right [n, M] -> `out` [K, M], which may be of a wider type; `add`: to what it holds."""
    if out.dtype != left.dtype:
        out.add_(left @ right) if add else out.copy_(left @ right)
    elif add:
        out.addmm_(left, right)
    else:
        torch.mm(left, right, out=out)


def _softmax_nll(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax of `logits` (in their own memory) and the nll of `tokens`.

    nll = (largest logit - logit of the token) + log of the sum of exp(logit - largest): the first part is read before
    the logits are gone, the second from the softmax, whose largest entry is 1 / that sum.
    """
    top = logits.amax(-1)
    below = top - logits.gather(1, tokens[:, None])[:, 0]
    probabilities = torch.softmax(logits, -1, out=logits)  # a row stays in the cache for all that it takes
    return probabilities, below - probabilities.amax(-1).log()


def cast_head(hidden: Tensor, weight: Tensor) -> Tensor:
    """The weight in the precision the head runs in: autocast's where it is on, else its own."""
    kind = hidden.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight
