"""SCOTT: counterfactual training, so that the student's answer follows its rationale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from cotdistill.plugins import strategy
from cotdistill.strategies.baselines import CONNECTOR
from cotdistill.strategies.forms import Form, Part, Strategy, given, learn

PAPER = "SCOTT, arXiv 2305.01879"


def _sides(sources: tuple[str, str], tags: tuple[str, str], alpha: float) -> tuple[Form, Form]:
    """The factual and the counterfactual form. Only the answer and EOS of the counterfactual are scored."""

    def target(tag: str, scored: Callable[[str], Part]) -> tuple[Part, ...]:
        shown = [text for text in (tag, " {rationale}", CONNECTOR) if text]
        return (*map(scored, shown), learn(" {answer}"))

    return (
        Form("factual", sources[0], target(tags[0], learn), share=1 - alpha),
        Form("counterfactual", sources[1], target(tags[1], given), share=alpha, kind="counterfactual"),
    )


@strategy("scott")
def scott(
    alpha: float = 0.5, tags: Literal["none", "input", "both"] = "both", tag_place: Literal["first", "last"] = "first"
) -> Strategy:
    """Factual rows are learned whole; of counterfactual rows the answer, given a rationale for a wrong one.

    Paper: SCOTT: Self-Consistent Chain-of-Thought Distillation, arXiv 2305.01879.
    Loss: (1 - alpha) * L_factual + alpha * L_counterfactual, each a token mean of its own kind.
    Differs: the means run over the optimizer step; decoder inputs are built from ids (the masked-label way
    erases them on T5). `tags` puts "[factual]" / "[counterfactual]" nowhere, on the input, or on input and
    target as published; `tag_place` last puts it after the question, so that both forms share the question's
    computation on a decoder-only student.
    """
    words = ("[factual]", "[counterfactual]")
    inputs = ("", "") if tags == "none" else words
    if tag_place == "first":
        sources = [f"{word} {{question}}\nReason:".lstrip() for word in inputs]
    else:
        sources = [f"{{question}}\n{word} Reason:" if word else "{question}\nReason:" for word in inputs]
    targets = (f" {words[0]}", f" {words[1]}") if tags == "both" else ("", "")
    forms = _sides((sources[0], sources[1]), targets, alpha)
    return Strategy("scott", PAPER, forms, plan=("factual",), explain=("factual",))


@strategy("scott-port")
def scott_port(alpha: float = 0.5) -> Strategy:
    """SCOTT for decoder-only students as ported in CasCoD's code: tags on the prompt only.

    Paper: SCOTT, arXiv 2305.01879; the port is in the code of CasCoD, arXiv 2405.19842.
    Loss: as scott.
    """
    sources = ("[Factual] {question}\nReason:", "[Counterfactual] {question}\nReason:")
    forms = _sides(sources, ("", ""), alpha)
    return Strategy("scott-port", PAPER + " (port)", forms, plan=("factual",), explain=("factual",))
