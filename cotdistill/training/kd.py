"""A teacher's distribution as a term of the loss: its K likeliest tokens and a bucket for the rest, or all of it.

Per target: P, Q (teacher, student) over K + 1 buckets, the K recorded tokens and all others together (`TeacherSignal`),
or over the vocabulary, where the teacher is at hand (`WholeSignal`). With temperature T both are P ** (1 / T),
normalised over the buckets, and the divergence is multiplied by T * T (Hinton et al., arXiv 1503.02531), so that its
gradient keeps its size. Merging tokens can only lower a divergence.

    kl           sum P log(P / Q)
    reverse-kl   sum Q log(Q / P)                                                    MiniLLM, arXiv 2306.08543
    jsd:B        B KL(P, M) + (1 - B) KL(Q, M), M = B P + (1 - B) Q, 0 < B < 1       GKD, arXiv 2306.13649, eq. 1

As in `training.loss` the head runs over a chunk of rows at a time, and a chunk's gradient is taken while its logits
are in memory: nothing of size [N, V] is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cotdistill.errors import UsageError
from cotdistill.training.loss import cast_head, rows_at_once

LEAST = -30.0  # log probability of an empty bucket: reverse KL stays finite


@dataclass(frozen=True)
class Divergence:
    """`kind`: kl, reverse-kl or jsd; `beta`: jsd's; `temperature`."""

    kind: str
    beta: float = 0.5
    temperature: float = 1.0

    @classmethod
    def parse(cls, text: str, temperature: float = 1.0, option: str = "--kd") -> Divergence:
        """kl, reverse-kl or jsd:B. Raises `UsageError` for any other text, which `option` gave."""
        kind, _, number = text.partition(":")
        if text in ("kl", "reverse-kl"):
            return cls(kind, temperature=temperature)
        try:
            beta = float(number)
        except ValueError:
            beta = math.nan
        if kind != "jsd" or not 0 < beta < 1:
            raise UsageError(
                f"{option} takes kl, reverse-kl or jsd:B with B between 0 and 1, such as jsd:0.5, not {text!r}"
            )
        return cls(kind, beta, temperature)

    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Divergence [n] of the log probabilities of the buckets, both [n, K + 1]."""
        p, q = ((side / self.temperature).log_softmax(-1) for side in (teacher, student))
        if self.kind == "kl":
            value = _kl(p, q)
        elif self.kind == "reverse-kl":
            value = _kl(q, p)
        else:
            mixed = torch.logaddexp(p + math.log(self.beta), q + math.log1p(-self.beta))
            value = self.beta * _kl(p, mixed) + (1 - self.beta) * _kl(q, mixed)
        return value * self.temperature**2


class Signal(Protocol):
    """What a teacher says of M of a micro-batch's N targets; `coef` counts it in the loss of the whole step."""

    @property
    def rows(self) -> Tensor:
        """Which targets [M]."""

    @property
    def coef(self) -> Tensor:
        """[M]."""

    def values(self, logits: Tensor, part: slice) -> Tensor:
        """Divergence [m] of a student's logits [m, V] at `part` of the rows."""


@dataclass(frozen=True)
class TeacherSignal:
    """The K likeliest tokens that the teacher recorded."""

    rows: Tensor  # [M]
    ids: Tensor  # [M, K]; -1 behind the first: none
    logprobs: Tensor  # [M, K]
    coef: Tensor  # [M]
    divergence: Divergence

    def values(self, logits: Tensor, part: slice) -> Tensor:
        """See `Signal`."""
        return _divergences(logits, self.ids[part], self.logprobs[part], self.divergence)


@dataclass(frozen=True)
class WholeSignal:
    """The teacher's whole distribution, which its head makes of its states where it is wanted: nothing of size [M, V]
    is kept. Without `weight` the states are logits; without `states` the distribution is uniform.

    Of logits the first `size` count: models that share a vocabulary often pad their embeddings differently.
    """

    rows: Tensor  # [M]
    coef: Tensor  # [M]
    divergence: Divergence
    size: int
    states: Tensor | None = None  # [M, D] of the teacher
    weight: Tensor | None = None  # [V, D]
    bias: Tensor | None = None  # [V]

    def values(self, logits: Tensor, part: slice) -> Tensor:
        """See `Signal`."""
        student = logits.float()[:, : self.size]
        return self.divergence(self._teacher(student, part), student)

    @torch.no_grad()
    def _teacher(self, student: Tensor, part: slice) -> Tensor:
        if self.states is None:
            return torch.zeros_like(student)
        states = self.states[part]
        if self.weight is None:
            return states.float()[:, : self.size]
        logits = (states.to(self.weight.dtype) @ self.weight[: self.size].t()).float()
        return logits if self.bias is None else logits + self.bias[: self.size]


def divergences(logits: Tensor, signal: Signal) -> Tensor:
    """The plain reference: divergence [M] of a student's logits [M, V] at the signal's rows."""
    return signal.values(logits, slice(None))


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


def _divergences(logits: Tensor, ids: Tensor, logprobs: Tensor, divergence: Divergence) -> Tensor:
    whole = logits.float()
    total = whole.logsumexp(-1, keepdim=True)
    told = torch.where(ids < 0, ids[:, :1], ids)  # -1 fills up behind the likeliest: an empty bucket on both sides
    rest = whole.scatter(1, told, -math.inf).logsumexp(-1, keepdim=True)  # exact also where it is tiny
    known = (whole.gather(1, told) - total).masked_fill(ids < 0, LEAST)
    return divergence(_with_rest(logprobs), torch.cat([known, rest - total], 1))


def _with_rest(logprobs: Tensor) -> Tensor:
    """Log probabilities [n, K + 1] of the recorded tokens and of all others together."""
    known = logprobs.float().clamp(min=LEAST)
    left = 1 - known.exp().sum(-1, keepdim=True)  # float16 may sum to more than one
    return torch.cat([known, left.clamp(min=math.exp(LEAST)).log()], 1).log_softmax(-1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)
