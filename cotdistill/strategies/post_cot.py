"""The rationale after the label, and its ablations: permuted, masked, key words only (Mysteries of CoT)."""

from __future__ import annotations

from typing import Literal

from cotdistill.plugins import strategy
from cotdistill.strategies.forms import Fill, Form, Strategy, default_fill, given, learn
from cotdistill.strategies.rewrites import Level, keep_key, keep_random, mask, permute, rewriting

PAPER = "Mysteries of CoT-augmented distillation, arXiv 2406.14511"
SOURCE = "{question}\nAnswer:"
BECAUSE = " Because"


def _post_cot(name: str, fill: Fill, label_share: float | None = None, needs_scores: str | None = None) -> Strategy:
    """One sequence, answer first. With a label share its loss is split in two terms over the same sequence."""
    if label_share is None:
        whole = Form("answer", SOURCE, (learn(" {answer}"), learn(BECAUSE), learn(" {rationale}")))
        return Strategy(
            name, PAPER, (whole,), plan=("answer",), explain=("answer",), fill=fill, needs_scores=needs_scores
        )
    # The connector is part of the label's form as well, so that the walk knows where the answer ends.
    label = Form("answer", SOURCE, (learn(" {answer}"), given(BECAUSE)), share=label_share, eos=False)
    after = Form(
        "rationale", SOURCE, (given(" {answer}"), learn(BECAUSE), learn(" {rationale}")), share=1 - label_share
    )
    return Strategy(
        name, PAPER, (label, after), plan=("answer",), explain=("rationale",), fill=fill, needs_scores=needs_scores
    )


@strategy("post-cot")
def post_cot(label_share: float | None = None) -> Strategy:
    """The answer, then the rationale: no reasoning is generated at test time (the walk stops at the answer).

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: mean over all target tokens; or, with `label_share` s, s * L_answer + (1 - s) * L_rationale.
    Differs: no public code; templates and the split are ours. cot and post-cot hold the same answer and rationale
    in another order.
    """
    return _post_cot("post-cot", default_fill, label_share)


@strategy("post-cot-permuted")
def post_cot_permuted(level: Level = "word", label_share: float | None = None) -> Strategy:
    """post-cot with the rationale's words, tokens or sentences shuffled.

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot.
    """
    return _post_cot("post-cot-permuted", rewriting(permute(level)), label_share)


@strategy("post-cot-masked")
def post_cot_masked(ratio: float = 0.5, label_share: float | None = None) -> Strategy:
    """post-cot with floor(ratio * n) random words replaced by the placeholder word "_" (models have no mask token).

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot. ratio 0 is post-cot; ratio 1 keeps no word of the rationale.
    """
    return _post_cot("post-cot-masked", rewriting(mask(ratio)), label_share)


@strategy("post-cot-key")
def post_cot_key(
    k: int = 5,
    by: Literal["tfidf", "integrated-gradients", "gradient-input"] = "tfidf",
    exclude_label: bool = False,
    label_share: float | None = None,
) -> Strategy:
    """post-cot with only the k words of the rationale that matter most, in their order.

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot. k >= n is post-cot; k = 0 drops the connector too and is answer-only.
    Differs: the paper's attribution method could not be had; `by` names ours.
    """
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    if k == 0:
        return _without_rationale("post-cot-key")
    return _post_cot("post-cot-key", rewriting(keep_key(k, exclude_label)), label_share, needs_scores=by)


@strategy("post-cot-random-k")
def post_cot_random_k(k: int = 5, exclude_label: bool = False, label_share: float | None = None) -> Strategy:
    """post-cot with k random words of the rationale: the size-matched control of post-cot-key.

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot. k = 0 drops the connector too and is answer-only.
    """
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    if k == 0:
        return _without_rationale("post-cot-random-k")
    return _post_cot("post-cot-random-k", rewriting(keep_random(k, exclude_label)), label_share)


def _without_rationale(name: str) -> Strategy:
    form = Form("answer", SOURCE, (learn(" {answer}"),))
    return Strategy(name, PAPER, (form,), plan=("answer",))
