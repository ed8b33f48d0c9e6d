"""CasCoD: distil in two cascaded steps, the rationale without the answer, then the answer given the rationale."""

from __future__ import annotations

from cotdistill.plugins import strategy
from cotdistill.strategies.forms import Form, Strategy, learn

MARKER = "\nTherefore, the answer is"


@strategy("cascod")
def cascod(alpha: float = 0.3) -> Strategy:
    """Step 1 learns the rationale from the question, step 2 the answer from question and rationale.

    Paper: Improve Student's Reasoning Generalizability through Cascading Decomposed CoTs Distillation,
    arXiv 2405.19842.
    Loss: (1 - alpha) * L_rationale + alpha * L_answer, each a token mean of its own step; of step 2 only the
    answer and EOS are scored.
    Differs: the means run over the optimizer step; the prompt asked at inference is the prompt trained on (the
    published code trains `A:Rationale:` and asks `A:\\nRationale:`). alpha is 0.1 in the authors' script, 0.5 in
    its config and 0.3 in an independent rerun. On an encoder-decoder student step 2's rationale is in the
    encoder, because it is part of the prompt.
    """
    rationale = Form("rationale", "{question}\nRationale:", (learn(" {rationale}"),), share=1 - alpha)
    answer = Form("answer", "{question}\nRationale: {rationale}" + MARKER, (learn(" {answer}"),), share=alpha)
    return Strategy(
        "cascod", "CasCoD, arXiv 2405.19842", (rationale, answer), plan=("rationale", "answer"), explain=("rationale",)
    )
