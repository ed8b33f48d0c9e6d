"""A backward curriculum: the last step of the rationale is learned first, the earlier ones join as training goes on."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from cotdistill.plugins import rewrite, strategy
from cotdistill.strategies.baselines import cot
from cotdistill.strategies.forms import Draft, FillContext, Strategy, Tokens
from cotdistill.strategies.rewrites import Rewrite
from cotdistill.strategies.rewriting import rewritten
from cotdistill.strategies.units import steps


@rewrite("backward")
def backward(until: float = 0.5) -> Rewrite:
    """The whole rationale is shown, and only its last steps are learned: one in the first pass, all from `until` on."""
    if not 0 < until <= 1:
        raise ValueError(f"until must lie above 0 and at most at 1, not {until:g}")

    def apply(draft: Draft, context: FillContext) -> Tokens:
        ids = context.tokenize(" " + draft.rationale.strip())
        found = steps(draft.rationale)
        count = max(1, ceil(len(found.texts) * min(1.0, context.progress / until)))
        before = found.join(found.texts[: len(found.texts) - count])
        shown = len(context.tokenize(" " + before)) if before else 0
        return Tokens(ids, tuple(float(at >= shown) for at in range(len(ids))))

    return Rewrite(apply, progressive=True, tokens=True)


@strategy("backward-cot")
def backward_cot(until: float = 0.5) -> Strategy:
    """As cot, its last step learned first, all of them from the share `until` of the training on.

    Paper: the schedule of Keypoint-based Progressive CoT Distillation (KPOD), arXiv 2405.16064.
    Loss: as cot, over the steps that have joined, the connector and the answer.
    Differs: KPOD also weighs tokens by a learned mask and chooses questions by value; here only the order of the steps.
    """
    base = replace(cot(), paper="KPOD, arXiv 2405.16064")
    return rewritten(base, backward(until))
