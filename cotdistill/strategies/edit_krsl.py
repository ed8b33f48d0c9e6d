"""EDIT's KRSL: of a right and a wrong chain to one question, learn what differs, and unlearn it in the wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotdistill.plugins import strategy
from cotdistill.strategies.baselines import CONNECTOR
from cotdistill.strategies.forms import Draft, FillContext, Form, Slots, Strategy, Tokens, given, learn


@strategy("edit-krsl")
def edit_krsl(right: float = 1.0, wrong: float = -0.025, threshold: float | None = None) -> Strategy:
    """Key-reasoning-step learning on dual chains: the tokens of each chain that the other one's edit script touches.

    Paper: Capturing Key Reasoning Steps, Distilling Mistakes (EDIT), arXiv 2405.19737; its code is in
    CasCoD's.
    Loss: 0.5 * sum_right w_t nll_t / N_right + 0.5 * sum_wrong w_t nll_t / N_wrong, w = `right` on the tokens
    of the right chain that the minimum edit script deletes or replaces, `wrong` (negative) on those of the
    wrong chain, 0 elsewhere; N counts the tokens with a weight.
    Differs: one mean per step, over weighted tokens (the code: a mean of each sequence's mean over all tokens).
    `threshold` gates the wrong side: a token the student already finds unlikely (nll >= threshold) is let be.
    The code compares a token's threshold with the nll read one position too late, and its value could not be
    had, so there is none by default. In EDIT this is the second stage, at a fortieth of the first one's learning rate:
    `--after cot:0.025`.
    """
    target = (learn(" {rationale}"), given(CONNECTOR), learn(" {answer}"))
    forms = tuple(
        Form(name, "{question}\nReason:", target, share=0.5, kind=kind, eos=False, denominator="count")  # type: ignore[arg-type]
        for name, kind in (("right", "factual"), ("wrong", "counterfactual"))
    )

    def fill(draft: Draft, context: FillContext) -> Slots:
        weight = right if draft.kind == "factual" else wrong
        other = draft.dual or draft  # at inference and in previews there may be no second chain
        return {
            "rationale": _weighted(draft.rationale, other.rationale, weight, context),
            "answer": _weighted(draft.answer, other.answer, weight, context),
        }

    def reweight(coef: Any, nll: Any) -> Any:
        return coef * ((coef >= 0) | (nll < threshold))

    return Strategy(
        "edit-krsl",
        "EDIT, arXiv 2405.19737",
        forms,
        plan=("right",),
        explain=("right",),
        fill=fill,
        reweight=None if threshold is None else reweight,
        fills_tokens=True,
    )


def edited(tokens: Sequence[int], other: Sequence[int]) -> list[bool]:
    """Which tokens of `tokens` a minimum edit script from `tokens` to `other` deletes or replaces.

    Among scripts of the same length the one the published backtracking finds: from the end, deletions first,
    then insertions, then replacements; a common beginning is never touched.
    """
    start = 0
    while start < min(len(tokens), len(other)) and tokens[start] == other[start]:
        start += 1
    rest, against = tokens[start:], other[start:]
    costs = [list(range(len(against) + 1))]
    for row, token in enumerate(rest, start=1):
        line = [row]
        for column, opposite in enumerate(against, start=1):
            line.append(min(costs[-1][column] + 1, line[-1] + 1, costs[-1][column - 1] + (token != opposite)))
        costs.append(line)
    touched = [False] * len(rest)
    row, column = len(rest), len(against)
    while row or column:
        if row and costs[row][column] == costs[row - 1][column] + 1:
            row -= 1
            touched[row] = True
        elif column and costs[row][column] == costs[row][column - 1] + 1:
            column -= 1
        else:
            row, column = row - 1, column - 1
            touched[row] = rest[row] != against[column]
    return [False] * start + touched


def _weighted(text: str, other: str, weight: float, context: FillContext) -> Tokens:
    ids, against = (context.tokenize(" " + words.strip()) for words in (text, other))
    return Tokens(tuple(ids), tuple(weight if touched else 0.0 for touched in edited(ids, against)))
