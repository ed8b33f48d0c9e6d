"""A divergence of your own in one file: skewed KL, which mixes some of the teacher into the student.

    cotdistill elicit --limit 64 --logprobs 8 -o rows.jsonl
    cotdistill distill rows.jsonl --plugin examples/skewed_kl.py --kd skewed-kl:0.1

KL(P, a P + (1 - a) Q) of DistiLLM (arXiv 2402.03898): its gradient stays small where the student gives a token of the
teacher's next to nothing. Teacher P and student Q come as log probabilities [n, K + 1], after --kd-temperature: the
recorded tokens and the rest. What is returned is one value per target [n]; its gradient is autograd's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cotdistill.plugins import divergence


@divergence("skewed-kl")
def skewed_kl(share: float = 0.1) -> Callable[[Tensor, Tensor], Tensor]:
    """KL from the teacher to a mixture of both, `share` of it the teacher."""
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")

    def value(teacher: Tensor, student: Tensor) -> Tensor:
        mixed = torch.logaddexp(teacher + math.log(share), student + math.log1p(-share))
        return (teacher.exp() * (teacher - mixed)).sum(-1)

    return value
