"""How a stored output becomes a verdict: by our extractor, or by math-verify.

Outputs are stored as generated and read again whenever figures are made, so that another extractor, or a
newer one, needs no model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from cotdistill.errors import missing_extra
from cotdistill.evaluation.answers import (
    EXTRACTOR,
    AnswerKind,
    Choices,
    Verdict,
    extract,
    extract_last,
    judge,
    read_answer,
)

ExtractorName = Literal["answers", "math-verify"]
Judge = Callable[[str | None, str, Choices, AnswerKind], tuple[str | None, Verdict]]
SECOND = "last-mention"  # the other extractor, whose disagreement is reported


def judge_slot(
    output: str | None, gold: str, choices: Choices, kind: AnswerKind
) -> tuple[str | None, Verdict]:
    """Answer and verdict of what stands in an answer slot; a slot never reached is unparsed."""
    answer = None if output is None else read_answer(output, choices, kind)
    return answer, judge(answer, gold, choices, kind)


def judge_text(
    output: str | None, gold: str, choices: Choices, kind: AnswerKind
) -> tuple[str | None, Verdict]:
    """Answer and verdict of a whole generation, reasoning included."""
    answer = None if output is None else extract(output, choices, kind).answer
    return answer, judge(answer, gold, choices, kind)


def judge_last(
    output: str | None, gold: str, choices: Choices, kind: AnswerKind
) -> tuple[str | None, Verdict]:
    """By the second extractor: the last mention of any answer."""
    answer = None if output is None else extract_last(output, choices, kind).answer
    return answer, judge(answer, gold, choices, kind)


def judge_math(
    output: str | None, gold: str, choices: Choices, kind: AnswerKind
) -> tuple[str | None, Verdict]:
    """By Hugging Face's math-verify: LaTeX, fractions, sets and intervals; only where there are no
    choices."""
    if choices or kind not in ("number", "text"):
        return judge_slot(output, gold, choices, kind)
    math = _math_verify()
    # No timeouts: they are signals, which only a main thread may use; these are short strings.
    expected = math.parse(gold if "$" in gold or "\\" in gold else f"${gold}$", parsing_timeout=None)
    found = math.parse(output, parsing_timeout=None) if output else []
    if not found:
        return None, "unparsed"
    right = math.verify(expected, found, timeout_seconds=None)
    return str(found[-1]), "right" if right else "wrong"


def judge_by(extractor: ExtractorName, whole: bool = False) -> Judge:
    """The judge of that name; `whole`: outputs hold whole generations, not one slot."""
    if extractor == "math-verify":
        _math_verify()
        return judge_math
    return judge_text if whole else judge_slot


def extractor_version(extractor: ExtractorName) -> str:
    """What results record."""
    if extractor == "answers":
        return EXTRACTOR
    from importlib.metadata import version

    return f"math-verify-{version('math-verify')}"


def _math_verify() -> Any:
    try:
        import math_verify
    except ImportError:
        raise missing_extra("math", "--extractor math-verify") from None
    return math_verify
