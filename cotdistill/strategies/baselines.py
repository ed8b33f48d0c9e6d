"""The plain baselines: answer-only, chain of thought before the answer, and its token-weighted form."""

from __future__ import annotations

from cotdistill.plugins import strategy
from cotdistill.strategies.forms import Form, Strategy, learn

CONNECTOR = " So the answer is"
COT_TARGET = (learn(" {rationale}"), learn(CONNECTOR), learn(" {answer}"))


@strategy("answer-only")
def answer_only() -> Strategy:
    """Question in, answer out: what the rationale must beat.

    Paper: the common baseline of all three.
    Loss: mean over answer tokens and EOS.
    """
    form = Form("answer", "{question}\nAnswer:", (learn(" {answer}"),))
    return Strategy("answer-only", "baseline", (form,), plan=("answer",))


@strategy("cot")
def cot() -> Strategy:
    """Std-CoT, pre-CoT: the rationale, then the answer, in one sequence.

    Paper: Teaching Small Language Models to Reason, arXiv 2212.08410; the baseline of SCOTT and CasCoD.
    Loss: mean over all target tokens.
    """
    form = Form("cot", "{question}\nReason:", COT_TARGET)
    return Strategy("cot", "Std-CoT, arXiv 2212.08410", (form,), plan=("cot",), explain=("cot",))


@strategy("weighted-cot")
def weighted_cot(rationale: float = 0.7, conclusion: float = 0.3) -> Strategy:
    """As cot, with one weight for rationale tokens and one for connector, answer and EOS.

    Paper: a baseline in the public code of EDIT, arXiv 2405.19737.
    Loss: sum_t w_t nll_t / sum_t w_t; the connector goes with the conclusion.
    """
    target = (learn(" {rationale}", rationale), learn(CONNECTOR, conclusion), learn(" {answer}", conclusion))
    form = Form("cot", "{question}\nReason:", target)
    return Strategy("weighted-cot", "EDIT's baseline, arXiv 2405.19737", (form,), plan=("cot",), explain=("cot",))
