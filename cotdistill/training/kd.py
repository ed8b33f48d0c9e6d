"""A teacher's distribution as a term of the loss: its K likeliest tokens and a bucket for the rest, or all of it.

Per target: P, Q (teacher, student) over K + 1 buckets, the K recorded tokens and all others together (`TeacherSignal`),
or over the vocabulary, where the teacher is at hand (`WholeSignal`). With temperature T both are P ** (1 / T),
normalised over the buckets, and the divergence is multiplied by T * T (Hinton et al., arXiv 1503.02531), so that its
gradient keeps its size. Merging tokens can only lower a divergence.

    kl           sum P log(P / Q)
    reverse-kl   sum Q log(Q / P)                                                    MiniLLM, arXiv 2306.08543
    jsd:B        B KL(P, M) + (1 - B) KL(Q, M), M = B P + (1 - B) Q, 0 < B < 1       GKD, arXiv 2306.13649, eq. 1

Its gradient goes into the chunks of `training.loss` (`LaidOut.fold`): the chunk's softmax is there already, and beyond
the K + 1 buckets the divergence only scales it. So the term costs no second head, no second gradient of the head, and
nothing of size [n, V].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.plugins.arguments import from_text
from cotdistill.plugins.guard import guarded_call
from cotdistill.plugins.kinds import DIVERGENCES

TINY = 1e-30  # probability of an empty rest
LEAST = -30.0  # log probability of an empty bucket: reverse KL stays finite


@dataclass(frozen=True)
class Divergence:
    """`kind`: kl, reverse-kl or jsd; `beta`: jsd's; `temperature`."""

    kind: str
    beta: float = 0.5
    temperature: float = 1.0
    own: Callable[[Tensor, Tensor], Tensor] | None = None  # a plug-in's

    @classmethod
    def parse(cls, text: str, temperature: float = 1.0, option: str = "--kd") -> Divergence:
        """kl, reverse-kl or jsd:B. Raises `UsageError` for any other text, which `option` gave."""
        kind, _, number = text.partition(":")
        if kind not in DIVERGENCES.reserved and DIVERGENCES.find(kind) is not None:
            return cls(kind, temperature=temperature, own=_own(text, option))
        if text in ("kl", "reverse-kl"):
            return cls(kind, temperature=temperature)
        try:
            beta = float(number)
        except ValueError:
            beta = math.nan
        if kind != "jsd" or not 0 < beta < 1:
            known = did_you_mean(kind, DIVERGENCES.names())
            raise UsageError(
                f"{option} takes kl, reverse-kl or jsd:B with B between 0 and 1, such as jsd:0.5, not {text!r}{known}"
            )
        return cls(kind, beta, temperature)

    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Divergence [n] of the log probabilities of the buckets, both [n, K + 1]."""
        p, q = ((side / self.temperature).log_softmax(-1) for side in (teacher, student))
        if self.own is not None:
            value = self.own(p, q)
        elif self.kind == "kl":
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


def _own(text: str, option: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A plug-in's divergence, tried once on two made-up distributions."""
    found, where = from_text(DIVERGENCES, text, option)
    made = guarded_call(found, where)
    tried = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    value = made(tried, tried.flip(0).requires_grad_())
    if not isinstance(value, Tensor) or value.shape != (2,) or not value.requires_grad or not value.isfinite().all():
        shown = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(
            f"{where}: must return one finite value [n] for each of n targets, with its gradient, not {shown}"
        )
    return made


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


@dataclass(frozen=True)
class LaidOut:
    """A signal over all N targets, in the loss's order; where the teacher says nothing coef is 0."""

    ids: Tensor  # [N, K]
    logprobs: Tensor  # [N, K]
    coef: Tensor  # [N]
    divergence: Divergence

    @classmethod
    def of(cls, signal: TeacherSignal, targets: int) -> LaidOut:
        """`targets`: N, those that fill the last chunk included."""
        ids, k = signal.ids, signal.ids.shape[1]
        return cls(
            ids.new_zeros(targets, k).index_copy_(0, signal.rows, ids),
            signal.logprobs.new_full((targets, k), -math.log(k + 1)).index_copy_(0, signal.rows, signal.logprobs),
            signal.coef.new_zeros(targets).index_copy_(0, signal.rows, signal.coef),
            signal.divergence,
        )

    def known(self, part: slice, logits: Tensor) -> Tensor:
        """The logits [n, K] of the recorded tokens, before the softmax takes their place."""
        return logits.gather(1, self._told(part))

    def fold(self, part: slice, softmax: Tensor, known: Tensor, coef: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn a chunk's softmax p [n, V], in its own memory, into (share * p + weight * the divergence's gradient);
        `known`: log probabilities [n, K] of the recorded tokens.

        Returns (scale [n], share [n], divergence [n]): share times scale is the target's coef, weight times scale the
        signal's. With g the slopes by bucket, G their sum and r the rest's probability, the gradient of a logit is
        g_k - p_k G for a recorded token and p_v (g_rest / r - G) for any other.
        """
        missing, told, told_coef = self.ids[part] < 0, self._told(part), self.coef[part]
        own = softmax.gather(1, told)
        rest = softmax.scatter_(1, told, 0).sum(-1, keepdim=True).clamp(min=TINY)  # exact also where it is tiny
        with torch.enable_grad():
            buckets = torch.cat([known.masked_fill(missing, LEAST), rest.log()], 1).requires_grad_()
            values = self.divergence(_with_rest(self.logprobs[part]), buckets)
            (slopes,) = torch.autograd.grad(values.sum(), buckets)
        slope, of_rest = slopes[:, :-1].masked_fill(missing, 0), slopes[:, -1:]
        both = slope.sum(-1, keepdim=True) + of_rest
        scale = torch.where(told_coef > 0, torch.maximum(coef.abs(), told_coef), coef)
        share = torch.where(told_coef > 0, coef / scale, 1.0)
        weight = torch.where(told_coef > 0, told_coef / scale, 0.0)[:, None]
        softmax.mul_(share[:, None] + weight * (of_rest / rest - both))
        recorded = share[:, None] * own + weight * (slope - own * both)
        softmax.scatter_(1, told, torch.where(missing, recorded[:, :1], recorded))
        return scale, share, values.detach()

    def _told(self, part: slice) -> Tensor:
        """The ids, with the first in place of those that are missing."""
        ids = self.ids[part]
        return torch.where(ids < 0, ids[:, :1], ids)


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
