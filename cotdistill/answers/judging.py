"""How a stored output becomes a verdict: by our extractor, by math-verify, or by a plug-in's.

    @extractor("last-line")
    def last_line(output: str, choices: Choices, kind: AnswerKind) -> str | None: ...

Outputs are stored as generated and parsed again whenever metrics are computed, so that another extractor, or a
newer one, needs no model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from cotdistill.answers.answers import (
    EXTRACTOR,
    AnswerKind,
    Choices,
    Extracted,
    Verdict,
    extract,
    judge,
    last_mention,
    read_answer,
)
from cotdistill.answers.numbers import whole_number
from cotdistill.answers.plain_text import first_sentence
from cotdistill.answers.statements import lowered, statements
from cotdistill.answers.thoughts import answer_region
from cotdistill.errors import UsageError, missing_extra
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import EXTRACTORS

Judge = Callable[[str | None, str, Choices, AnswerKind], tuple[str | None, Verdict]]
SECOND = "last-mention"  # the other extractor, whose disagreement is reported


def judge_slot(output: str | None, gold: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, Verdict]:
    """Answer and verdict of an answer slot's content; a slot that was never reached is unparsed."""
    answer = None if output is None else read_answer(output, choices, kind)
    return answer, judge(answer, gold, choices, kind)


def judge_text(output: str | None, gold: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, Verdict]:
    """Answer and verdict of a whole generation, reasoning included."""
    answer = None if output is None else extract(output, choices, kind).answer
    return answer, judge(answer, gold, choices, kind)


def judge_found(
    found: Extracted, output: str | None, gold: str, choices: Choices, kind: AnswerKind
) -> tuple[str | None, Verdict]:
    """`judge_text` of an output from which `found` was extracted already."""
    return found.answer, judge(found.answer, gold, choices, kind)


def judge_last(output: str | None, gold: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, Verdict]:
    """By the second extractor: the last mention of any answer."""
    answer = None if output is None else last_mention(output, choices, kind)
    return answer, judge(answer, gold, choices, kind)


def judge_math(output: str | None, gold: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, Verdict]:
    """By Hugging Face's math-verify: LaTeX, fractions, sets and intervals; only where there are no choices."""
    if choices or kind not in ("number", "text"):
        return judge_slot(output, gold, choices, kind)
    math = _math_verify()
    # No timeouts: they are signals, which only a main thread may use; these are short strings.
    expected = math.parse(delimited(gold), parsing_timeout=None)
    parsed = math.parse(delimited(_last_slot(output)), parsing_timeout=None) if output else []
    if not parsed:
        return None, "unparsed"
    right = math.verify(expected, parsed, timeout_seconds=None)
    return str(parsed[-1]), "right" if right else "wrong"


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
    """The slot of the last explicit statement of `output`, else all of it."""
    stated = [s for s in statements(output, lowered(output), *answer_region(output), None, "text") if s.explicit]
    if not stated:
        begin, end = answer_region(output)
        return output[begin:end]
    last = stated[-1]
    if last.slot is not None:
        return f"${last.slot}$"
    return first_sentence(output[last.end :].strip())


def judge_by(extractor: str, whole: bool = False) -> Judge:
    """The judge of that name; `whole`: outputs hold whole generations, not one slot.

    Raises `UsageError` for a name that nobody registered.
    """
    if extractor == "math-verify":
        _math_verify()
        return judge_math
    if extractor != "answers":
        return _judge_of_plugin(extractor)
    return judge_text if whole else judge_slot


def _judge_of_plugin(name: str) -> Judge:
    """A judge that lets a plug-in read the answer; right and wrong are told as for our own."""
    entry = EXTRACTORS.get(name, "--extractor")
    read, where = entry.value, f"extractor {name!r} of {entry.origin}"
    assert read is not None

    def judged(output: str | None, gold: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, Verdict]:
        with plugin_code(where):
            answer = None if output is None else read(output, choices, kind)
        if answer is not None and not isinstance(answer, str):
            raise UsageError(f"{where}: returned {answer!r:.80}, not text or None")
        return answer, judge(answer, gold, choices, kind)

    return judged


def extractor_version(extractor: str) -> str:
    """What results record; of a plug-in's with the first digits of its code's digest."""
    if extractor == "answers":
        return EXTRACTOR
    if extractor != "math-verify":
        return f"{extractor}-{(EXTRACTORS.get(extractor, '--extractor').code or '')[:8]}"
    from importlib.metadata import version

    return f"math-verify-{version('math-verify')}"


def _math_verify() -> Any:
    try:
        import math_verify
    except ImportError:
        raise missing_extra("math", "--extractor math-verify") from None
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it repeats that it has no timeouts
    return math_verify
