"""The truth of a rationale in the embedded world, read from its text alone, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotdistill.plugins.checkers import RationaleCheck, Step
from cotdistill.world.questions import parse

_SENTENCE_END = re.compile(r"(?<=\.)\s+")


def check(question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
    """The verdict on a rationale; None if the question is none of this world's ("not applicable")."""
    problem = parse(question)
    if problem is None:
        return None
    steps: list[Step] = []
    for place, sentence in enumerate(sentences(rationale)):
        steps.append(problem.judge(sentence, place, steps[-1].says if steps else None))
    conclusion = steps[-1].says if steps else None
    return RationaleCheck(
        tuple(steps),
        supports=conclusion if conclusion in (choices or problem.options) else None,
        complete=len(steps) == len(problem.proof()) and all(step.linked for step in steps),
    )


def sentences(rationale: str) -> list[str]:
    """The sentences of a rationale; a final one without its full stop gets it."""
    text = rationale.strip()
    if not text:
        return []
    return _SENTENCE_END.split(text if text.endswith(".") else text + ".")
