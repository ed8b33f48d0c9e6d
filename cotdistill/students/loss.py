"""The one loss: sum of coef * nll over targets. A plain reference, and the same in chunks with its gradient.

Of V logits a target needs one and their log-sum-exp, so no more than a chunk of logits rows is ever held: the
chunk is turned into its own gradient in place, and the head's gradients are done when the forward pass is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill.strategies.forms import Reweight

CHUNK_BYTES = {
    "cpu": 32 << 20,
    "cuda": 512 << 20,
}  # of float32 logits; on a CPU about what its last cache holds


class Scratch:
    """What the micro-batches of one optimizer step share on a CPU: the memory of a chunk of logits, and the
    head's gradient, which is added to its .grad already in the forward pass.

    For a sum that is differentiated as it is, once. Allocated before any activation: blocks of [N, V] and
    [V, D] that come and go among them leave holes in C's heap.
    """

    def __init__(self, targets: int, vocabulary: int) -> None:
        """`targets`: the most that a micro-batch of the step has."""
        self._logits = torch.empty(min(targets, _rows_at_once(vocabulary, "cpu")) * vocabulary)

    def product(self, states: Tensor, head: Tensor) -> Tensor:
        """states @ head.T in float32 [N, V], overwritten by the next product."""
        out = self._logits[: len(states) * len(head)].view(len(states), len(head))
        if states.dtype != out.dtype:
            return out.copy_(states @ head.t())
        return torch.mm(states, head.t(), out=out)


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
    scratch: Scratch | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A linear head's (sum of coef * nll; nll [N]; coef [N]), the last two without gradient.

    hidden [N, D], weight [V, D], bias [V]. `reweight` sees the nll first, which costs one more matrix
    product.
    """
    if reweight is not None:
        with torch.no_grad():
            nll = hidden.new_empty(len(tokens), dtype=torch.float32)
            for part, logits, _ in _chunks(hidden, _cast(hidden, weight), bias, scratch):
                nll[part] = _softmax_nll(logits, tokens[part])[1]
            coef = reweight(coef, nll)
    applied = _WeightedNll.apply(hidden, weight, bias, tokens, coef, scratch)  # type: ignore[no-untyped-call]
    total, nll = applied
    return total, nll, coef


class _WeightedNll(torch.autograd.Function):
    """Forward computes the gradient too, for an upstream gradient of 1; backward only scales it.

    Every row has its own coef, folded in before the products: a kernel that scales all rows by one gradient
    is wrong.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        coef: Tensor,
        scratch: Scratch | None,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        head = _cast(hidden, weight)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        in_place = scratch is not None and needs_weight
        summed = in_place and weight.grad is not None
        grad_weight = None
        if needs_weight:
            grad_weight = weight.grad if summed else torch.empty_like(weight)
        grad_bias = torch.zeros_like(bias) if needs_bias and bias is not None else None
        nll = torch.empty(len(tokens), dtype=torch.float32, device=hidden.device)
        for part, logits, states in _chunks(hidden, head, bias, scratch):
            slope, nll[part] = _softmax_nll(logits, tokens[part])
            slope.mul_(coef[part, None])
            slope.scatter_add_(1, tokens[part, None], -coef[part, None])
            narrow = slope.to(head.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = narrow @ head
            if grad_weight is not None:
                _add_product(grad_weight, narrow.t(), states, first=part.start == 0 and not summed)
            if grad_bias is not None:
                grad_bias += slope.sum(0).to(grad_bias.dtype)
        if in_place:
            weight.grad, grad_weight = grad_weight, None
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll)
        return (coef * nll).sum(), nll

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale, grads = upstream[0], ctx.saved_tensors
        # A factor of one spares a pass over [V, D]; on a GPU asking for it would make the host wait.
        if scale.device.type != "cpu" or scale.item() != 1:
            grads = tuple(None if grad is None else grad * scale.to(grad.dtype) for grad in grads)
        return (*grads, None, None, None)


def _chunks(
    hidden: Tensor, head: Tensor, bias: Tensor | None, scratch: Scratch | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each chunk of rows: where it lies, its float32 logits, its hidden states as the head takes them."""
    most = _rows_at_once(len(head), hidden.device.type)
    size = -(-len(hidden) // -(-len(hidden) // most))  # even chunks: a thin last one is a slow matrix product
    for first in range(0, len(hidden), size):
        part = slice(first, first + size)
        states = hidden[part].to(head.dtype)
        logits = F.linear(states, head).float() if scratch is None else scratch.product(states, head)
        if bias is not None:
            logits += bias
        yield part, logits, states


def _rows_at_once(vocabulary: int, device: str) -> int:
    return max(1, CHUNK_BYTES.get(device, 256 << 20) // (4 * vocabulary))


def _softmax_nll(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax of `logits` (in their own memory) and the nll of `tokens`."""
    top = logits.amax(-1, keepdim=True)
    nll = top - logits.gather(1, tokens[:, None])
    powers = logits.sub_(top).exp_()
    total = powers.sum(-1, keepdim=True)
    return powers.div_(total), (nll + total.log())[:, 0]


def _cast(hidden: Tensor, weight: Tensor) -> Tensor:
    """The weight in the precision the head runs in: autocast's where it is on, else its own."""
    kind = hidden.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight


def _add_product(total: Tensor, left: Tensor, right: Tensor, first: bool) -> None:
    """total += left @ right, or = for the first product of a sum that was never set to zero."""
    if first:
        total.copy_(left @ right) if total.dtype != left.dtype else torch.mm(left, right, out=total)
    elif total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
