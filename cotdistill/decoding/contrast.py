"""SCOTT's rule: the next token is one that the first context explains and the second does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from cotdistill.decoding.decode import Choice, Session


@dataclass(frozen=True)
class Contrast:
    """Answer-conditioned contrastive decoding, greedy (SCOTT, arXiv 2305.01879, section 3.1).

        t = argmax_v [ log softmax(z1_v / T) - lam * log softmax(z2_v) ]

    z1: logits given the answer to support, z2: given the perturbed answer. The two normalisers do not depend
    on v, so they are left out. `lam` 0 is greedy; equal contexts and lam < 1 are greedy; lam equals g / (1 +
    g) for the growth form log p1 + g * log(p1 / p2). The temperature scales the first context only.
    `plausibility` a leaves only tokens with p1(v) >= a * max p1 (Contrastive Decoding, arXiv 2210.15097);
    None, as in SCOTT, leaves all.
    """

    lam: float = 0.5
    temperature: float = 1.0
    plausibility: float | None = None

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature:g}")
        if self.plausibility is not None and not 0 < self.plausibility <= 1:
            raise ValueError(f"plausibility must be above 0 and at most 1, not {self.plausibility:g}")

    def __call__(self, logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
        """logits float32 [sessions, 2, V] -> one choice per session."""
        supported, perturbed = logits[:, 0], logits[:, 1]
        if self.temperature != 1:
            supported = supported / self.temperature
        score = torch.sub(supported, perturbed, alpha=self.lam)
        if self.plausibility is not None:
            floor = supported.amax(-1, keepdim=True) + log(self.plausibility)
            score = score.masked_fill(supported < floor, float("-inf"))
        return [
            Choice(token, alone)
            for token, alone in zip(score.argmax(-1).tolist(), supported.argmax(-1).tolist(), strict=True)
        ]
