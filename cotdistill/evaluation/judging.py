"""How a stored output becomes a verdict: by our extractor, or by math-verify.

Outputs are stored as generated and read again whenever figures are made, so that another extractor, or a
newer one, needs no model.
"""

from __future__ import annotations

import logging
import re
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
from cotdistill.evaluation.numbers import whole_number
from cotdistill.evaluation.plain_text import first_sentence
from cotdistill.evaluation.statements import lowered, statements
from cotdistill.evaluation.thoughts import answer_region

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
    expected = math.parse(delimited(gold), parsing_timeout=None)
    found = math.parse(delimited(_last_slot(output)), parsing_timeout=None) if output else []
    if not found:
        return None, "unparsed"
    right = math.verify(expected, found, timeout_seconds=None)
    return str(found[-1]), "right" if right else "wrong"


def delimited(text: str) -> str:
    """`text` as math-verify reads it whole: without delimiters it takes "3\\pi" for 3 and "2 2/3" for 2."""
    bare = text.strip().rstrip(".").strip("*` ")
    number = whole_number(bare)
    if number is not None:
        return f"${number}$"
    if re.search(r"\\boxed|\$|\\\(|\\\[", bare):
        return bare
    prose = re.search(r"(?<![\\A-Za-z])[A-Za-z]{2,}", bare)
    return bare if prose and "\\" not in bare else f"${bare}$"


def _last_slot(output: str) -> str:
    """What the last explicit statement of `output` states, else all of it."""
    found = [s for s in statements(output, lowered(output), *answer_region(output), None, "text") if s.explicit]
    if not found:
        begin, end = answer_region(output)
        return output[begin:end]
    last = found[-1]
    if last.slot is not None:
        return f"${last.slot}$"
    return first_sentence(output[last.end :].strip())


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
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it repeats that it has no timeouts
    return math_verify
