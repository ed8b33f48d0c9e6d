"""The one loss: sum of coef * nll over targets. A plain reference, and the same in chunks with its gradient.

Of V logits a target needs one and their log-sum-exp, so no more than a chunk of logits rows is ever held: the
chunk is turned into its own gradient in place, and the head's gradients are done when the forward pass is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill.strategies.forms import Reweight
from cotdistill.students.batches import Row
from cotdistill.students.matmul import rounded_up, rows_summed, rows_times

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
        rows = rounded_up(min(targets, _rows_at_once(vocabulary, "cpu")))
        self._logits = torch.empty(rows * vocabulary)

    @classmethod
    def of(cls, model: Any, batches: Sequence[Sequence[Row]]) -> Scratch:
        """For the micro-batches of one step of `model`."""
        most = max(sum(len(row.coef) for row in batch) for batch in batches)
        return cls(most, len(model.get_output_embeddings().weight))

    def product(self, states: Tensor, head: Tensor) -> Tensor:
        """states @ head.T in float32 [N, V], overwritten by the next product."""
        out = self._logits[: len(states) * len(head)].view(len(states), len(head))
        if states.dtype != out.dtype:
            return out.copy_(states @ head.t())
        return rows_times(states, head.t(), out)


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
    rows, size = len(tokens), _chunk_size(len(tokens), weight)
    spare = -rows % size  # rows that fill the last chunk; they count nothing
    hidden, tokens = F.pad(hidden, (0, 0, 0, spare)), F.pad(tokens, (0, spare))
    if reweight is not None:
        with torch.no_grad():
            nll = hidden.new_empty(len(tokens), dtype=torch.float32)
            for part, logits, _ in _chunks(hidden, _cast(hidden, weight), bias, size, scratch):
                nll[part] = _softmax_nll(logits, tokens[part])[1]
            coef = reweight(coef, nll[:rows])
    total, nll = _WeightedNll.apply(hidden, weight, bias, tokens, F.pad(coef, (0, spare)), size, scratch)  # type: ignore[no-untyped-call]
    return total, nll[:rows], coef


class _WeightedNll(torch.autograd.Function):
    """Forward computes the gradient too, for an upstream gradient of 1; backward only scales it.

    Every row has its own coef (a kernel that scales all rows by one gradient is wrong), applied to the [N, D]
    beside the [N, V] in each product: one pass less over the largest, and no underflow of coef * p in float16.
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
        for part, logits, states in _chunks(hidden, head, bias, size, scratch):
            slope, nll[part] = _softmax_nll(logits, tokens[part])
            slope.scatter_add_(1, tokens[part, None], slope.new_full((len(slope), 1), -1))
            narrow, each = slope.to(head.dtype), coef[part, None]
            if grad_hidden is not None:
                grad_hidden[part] = each * rows_times(narrow, head)
            if grad_weight is not None:
                scaled = (each * states).to(states.dtype)
                rows_summed(narrow, scaled, grad_weight, add=summed or part.start > 0)
            if grad_bias is not None:
                grad_bias += (coef[part] @ slope).to(grad_bias.dtype)
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
        return (*grads, None, None, None, None)


def _chunks(
    hidden: Tensor, head: Tensor, bias: Tensor | None, size: int, scratch: Scratch | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each `size` rows: where they lie, their float32 logits, their hidden states as the head takes them."""
    for first in range(0, len(hidden), size):
        part = slice(first, first + size)
        states = hidden[part].to(head.dtype)
        logits = rows_times(states, head.t()).float() if scratch is None else scratch.product(states, head)
        if bias is not None:
            logits += bias
        yield part, logits, states


def _chunk_size(rows: int, head: Tensor) -> int:
    """Even chunks (a thin last one is a slow matrix product) of a size that meets its kernels again."""
    chunks = -(-rows // _rows_at_once(len(head), head.device.type))
    return rounded_up(-(-rows // chunks))


def _rows_at_once(vocabulary: int, device: str) -> int:
    return max(1, CHUNK_BYTES.get(device, 256 << 20) // (4 * vocabulary))


def _softmax_nll(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax of `logits` (in their own memory) and the nll of `tokens`."""
    top = logits.amax(-1)
    below = top - logits.gather(1, tokens[:, None])[:, 0]
    probabilities = torch.softmax(logits, -1, out=logits)  # a row stays in the cache for all that it takes
    return probabilities, below - probabilities.amax(-1).log()  # the largest logit's is 1 / sum of exp


def _cast(hidden: Tensor, weight: Tensor) -> Tensor:
    """The weight in the precision the head runs in: autocast's where it is on, else its own."""
    kind = hidden.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight
