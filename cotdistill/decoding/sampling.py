"""Sampling whose draws belong to the session, not to the batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from cotdistill.decoding.decode import Choice, Session
from cotdistill.students.devices import in_float64


class SampledSession(Session, Protocol):
    """A session with its own generator, seeded by (seed, purpose, id, sample): one draw per sampled token."""

    random: random.Random


@dataclass(frozen=True)
class Sampling:
    """One draw from softmax(z / T), cut to the smallest set of tokens with probability `top_p` (nucleus
    sampling, arXiv 1904.09751). Each session draws from its own generator: batch, order and shard cannot
    change a sample."""

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top-p must be above 0 and at most 1, not {self.top_p:g}")

    def __call__(self, logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
        """logits float32 [sessions, k, V] -> one choice per session, from the first context."""
        probabilities = torch.softmax(in_float64(logits[:, 0]) / self.temperature, -1)
        if self.top_p < 1:
            probabilities = _nucleus(probabilities, self.top_p)
        # The cumulative sum runs in vocabulary order: rounding cannot swap neighbours as it would in sorted
        # order.
        cumulative = probabilities.cumsum(-1)
        draws = [cast(SampledSession, session).random.random() for session in sessions]
        points = cumulative.new_tensor(draws)[:, None] * cumulative[:, -1:]
        picked = torch.searchsorted(cumulative, points, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return [Choice(token, token) for token in picked.tolist()]


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Probabilities [S, V] outside the nucleus set to 0; the most likely token always stays."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return probabilities.masked_fill(outside.scatter(-1, order, outside), 0.0)
