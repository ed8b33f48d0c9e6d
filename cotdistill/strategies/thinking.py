"""Rationales inside thinking markers, as reasoning models write them: `<think> ... </think>`, then the answer.

The markers are literal parts around the rationale's slot: they are learned where the rationale is learned, shown where
it is shown, and the walk reads the rationale between them. The closing one ends the slot, so that a budget of thinking
tokens (`--think-budget`) closes the student's thoughts by forcing it, as Muennighoff et al. do (s1, arXiv 2501.19393).
"""

from __future__ import annotations

import re
from dataclasses import replace

from cotdistill.errors import UsageError
from cotdistill.strategies.forms import Form, Part, Strategy

MARKERS = "<think>+</think>"  # of DeepSeek, Qwen and most others


def thinking(strategy: Strategy, markers: str) -> Strategy:
    """`strategy` with its rationales inside markers: `own` for MARKERS, or OPEN+CLOSE, e.g. `[THINK]+[/THINK]`.

    `UsageError` where that is none, `ValueError` where the strategy writes no rationale.
    """
    opening, plus, closing = (MARKERS if markers in ("own", "true") else markers).partition("+")
    opening, closing = opening.strip(), closing.strip()
    if not (plus and opening and closing) or re.search(r"[{}]", markers):
        raise UsageError(f"think={markers}: is not OPEN+CLOSE, such as {MARKERS}")
    forms = tuple(_marked(form, opening, closing) for form in strategy.forms)
    if forms == strategy.forms:
        raise ValueError("it writes no rationale that could stand between markers")
    return replace(strategy, forms=forms)


def _marked(form: Form, opening: str, closing: str) -> Form:
    source = re.sub(r"( ?)\{rationale\}", rf"\1{opening} {{rationale}} {closing}", form.source)
    target: list[Part] = []
    for part in form.target:
        marks = [replace(part, text=f" {mark}", fractions=()) for mark in (opening, closing)]
        target += [marks[0], part, marks[1]] if part.slot == "rationale" else [part]
    return replace(form, source=source, target=tuple(target))
