"""The rationale after the label (Mysteries of CoT); its ablations: post-cot with a rewrite, each under its own name."""

from __future__ import annotations

from typing import Literal

from cotdistill.plugins import strategy
from cotdistill.strategies.forms import Form, Strategy, given, learn
from cotdistill.strategies.rewrites import keep_key, keep_random, mask, permute
from cotdistill.strategies.rewriting import rewritten
from cotdistill.strategies.units import Level

PAPER = "Mysteries of CoT-augmented distillation, arXiv 2406.14511"
SOURCE = "{question}\nAnswer:"
BECAUSE = " Because"


@strategy("post-cot")
def post_cot(label_share: float | None = None) -> Strategy:
    """The answer, then the rationale: no reasoning is generated at test time (the walk stops at the answer).

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: mean over all target tokens; or, with `label_share` s, s * L_answer + (1 - s) * L_rationale.
    Differs: no public code; templates and the split are ours. cot and post-cot hold the same answer and rationale
    in another order.
    """
    if label_share is None:
        whole = Form("answer", SOURCE, (learn(" {answer}"), learn(BECAUSE), learn(" {rationale}")))
        return Strategy("post-cot", PAPER, (whole,), plan=("answer",), explain=("answer",))
    # The connector is part of the label's form as well, so that the walk knows where the answer ends.
    label = Form("answer", SOURCE, (learn(" {answer}"), given(BECAUSE)), share=label_share, eos=False)
    after = Form(
        "rationale", SOURCE, (given(" {answer}"), learn(BECAUSE), learn(" {rationale}")), share=1 - label_share
    )
    return Strategy("post-cot", PAPER, (label, after), plan=("answer",), explain=("rationale",))


@strategy("post-cot-permuted")
def post_cot_permuted(level: Level = "word", label_share: float | None = None) -> Strategy:
    """post-cot with the rationale's words, tokens, sentences or steps shuffled.

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot.
    """
    return rewritten(post_cot(label_share), permute(level))


@strategy("post-cot-masked")
def post_cot_masked(ratio: float = 0.5, label_share: float | None = None) -> Strategy:
    """post-cot with floor(ratio * n) random words replaced by the placeholder word "_" (models have no mask token).

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot. ratio 0 is post-cot; ratio 1 keeps no word of the rationale.
    """
    return rewritten(post_cot(label_share), mask(ratio))


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
    words = keep_key(k, by, exclude_label)
    return rewritten(post_cot(label_share), words) if k else _without_rationale()


@strategy("post-cot-random-k")
def post_cot_random_k(k: int = 5, exclude_label: bool = False, label_share: float | None = None) -> Strategy:
    """post-cot with k random words of the rationale: the size-matched control of post-cot-key.

    Paper: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511.
    Loss: as post-cot. k = 0 drops the connector too and is answer-only.
    """
    words = keep_random(k, exclude_label)
    return rewritten(post_cot(label_share), words) if k else _without_rationale()


def _without_rationale() -> Strategy:
    form = Form("answer", SOURCE, (learn(" {answer}"),))
    return Strategy("answer-only", PAPER, (form,), plan=("answer",))
