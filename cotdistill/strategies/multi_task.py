"""Multi-task strategies: the answer is learned alone, the rationale as a second task (Distilling Step-by-Step)."""

from __future__ import annotations

from cotdistill.plugins import strategy
from cotdistill.strategies.baselines import COT_TARGET
from cotdistill.strategies.forms import Form, Strategy, learn


@strategy("step-by-step")
def step_by_step(alpha: float = 0.5) -> Strategy:
    """Two tasks told apart by a prefix: predict the answer, explain it (MT-Re).

    Paper: Distilling Step-by-Step!, arXiv 2305.02301.
    Loss: alpha * L_answer + (1 - alpha) * L_rationale, each a token mean of its own task.
    Differs: the means run over the optimizer step, not over the micro-batch; a cue ends each prompt, so that a
    decoder-only student knows where the answer begins.
    """
    predict = Form("predict", "predict: {question}\nAnswer:", (learn(" {answer}"),), share=alpha)
    explain = Form("explain", "explain: {question}\nReason:", (learn(" {rationale}"),), share=1 - alpha)
    return Strategy(
        "step-by-step",
        "Distilling Step-by-Step, arXiv 2305.02301",
        (predict, explain),
        plan=("predict",),
        explain=("explain",),
    )


@strategy("mt-ra")
def mt_ra(alpha: float = 0.5) -> Strategy:
    """The answer alone; and the answer followed by its explanation.

    Paper: MT-Ra, Explanations from Large Language Models Make Small Reasoners Better, arXiv 2210.06726.
    Loss: alpha * L_answer + (1 - alpha) * L_answer-then-explanation.
    """
    answer = Form("answer", "{question}\n[Answer]", (learn(" {answer}"),), share=alpha)
    explanation = Form(
        "explanation",
        "{question}\n[Explanation]",
        (learn(" The answer is"), learn(" {answer}"), learn(". Explanation:"), learn(" {rationale}")),
        share=1 - alpha,
    )
    return Strategy(
        "mt-ra", "MT-Ra, arXiv 2210.06726", (answer, explanation), plan=("answer",), explain=("explanation",)
    )


@strategy("mt-cot")
def mt_cot(alpha: float = 0.5) -> Strategy:
    """The answer alone; and the rationale followed by the answer.

    Paper: MT-CoT, Explanations from Large Language Models Make Small Reasoners Better, arXiv 2210.06726.
    Loss: alpha * L_answer + (1 - alpha) * L_rationale-then-answer.
    """
    answer = Form("answer", "{question}\n[Answer]", (learn(" {answer}"),), share=alpha)
    reason = Form("reason", "{question}\n[Explanation]", COT_TARGET, share=1 - alpha)
    return Strategy("mt-cot", "MT-CoT, arXiv 2210.06726", (answer, reason), plan=("answer",), explain=("reason",))
