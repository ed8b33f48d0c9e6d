"""Internalised chain of thought, step by step: the rationale vanishes from its beginning while the student trains."""

from __future__ import annotations

from math import ceil, exp

from cotdistill.plugins import rewrite, strategy
from cotdistill.seeds import rng
from cotdistill.strategies.baselines import CONNECTOR, COT_TARGET
from cotdistill.strategies.forms import Draft, FillContext, Form, Strategy, Tokens, learn
from cotdistill.strategies.rewrites import Rewrite
from cotdistill.strategies.rewriting import rewritten

GONE = 0.75  # the share of training after which nothing of the rationale is left


@rewrite("vanish")
def vanish(per_epoch: int | None = None, smoothing: float = 4.0) -> Rewrite:
    """The first tokens of the rationale are removed, `per_epoch` more in each pass over the rows.

    Without it the share that is removed grows evenly and is all of it after three quarters of the training.
    `smoothing` lambda removes o more tokens of a row with probability proportional to exp(-lambda o), drawn for each
    pass, so that the student sees what comes next.
    """
    if smoothing <= 0:
        raise ValueError(f"smoothing must be above 0, not {smoothing:g}")

    def apply(draft: Draft, context: FillContext) -> Tokens:
        ids = context.tokenize(" " + draft.rationale.strip())
        if context.epoch == 0:
            return Tokens(ids)
        removed = ceil(len(ids) * context.progress / GONE) if per_epoch is None else per_epoch * context.epoch
        draw = rng(context.seed, "vanish", context.epoch, draft.example.id, draft.index)
        while draw.random() < exp(-smoothing):  # a geometric number: P(o) is proportional to exp(-smoothing o)
            removed += 1
        return Tokens(ids[removed:])

    return Rewrite(apply, progressive=True, tokens=True)


@strategy("icot-si")
def icot_si(per_epoch: int | None = None, smoothing: float = 4.0) -> Strategy:
    """As cot, while the rationale vanishes from its beginning; at test time the answer is given at once.

    Paper: From Explicit CoT to Implicit CoT, arXiv 2405.14838 (da03/Internalize_CoT_Step_by_Step).
    Loss: as cot, over what is left of the rationale. The optimizer's moments begin anew in each pass, as published.
    Differs: published are 8 tokens per pass over many passes; by default the rationale is gone after three quarters of
    the training, however long that is.
    """
    cot = Form("cot", "{question}\nReason:", COT_TARGET)
    # Never trained on by itself: what a training row looks like when nothing of its rationale is left.
    direct = Form("direct", "{question}\nReason:", (learn(CONNECTOR), learn(" {answer}")), share=0.0)
    whole = Strategy("icot-si", "iCoT-SI, arXiv 2405.14838", (cot, direct), ("direct",), resets_optimizer=True)
    return rewritten(whole, vanish(per_epoch, smoothing))
