"""Answers: how they are written, found in a generation, parsed, compared and judged.

Pure functions of plain values, so the same code labels a teacher's chains, scores a student, and checks what
a rationale concludes by itself. Statements of an answer are recognised in `extraction` (whole
generations) and `slot` (the content of one answer slot). Unparsed is never wrong: where nothing can be
read nothing is guessed, and the verdict says so.
"""

from typing import Literal

from cotdistill.answers.extraction import EXPLICIT, Extracted, extract, last_mention, states
from cotdistill.answers.numbers import is_number, same_number, whole_number
from cotdistill.answers.plain_text import key, normal
from cotdistill.answers.slot import AnswerKind, Choices, math_form, read
from cotdistill.answers.style import AnswerStyle

__all__ = [
    "EXPLICIT",
    "EXTRACTOR",
    "AnswerKind",
    "AnswerStyle",
    "Choices",
    "Extracted",
    "Verdict",
    "answer_kind",
    "extract",
    "judge",
    "last_mention",
    "letter",
    "read_answer",
    "render_answer",
    "same_answer",
    "states",
]

EXTRACTOR = "answers-4"  # recorded in every result; raised when any reading changes

Verdict = Literal["right", "wrong", "unparsed"]


def answer_kind(choices: Choices, answer: str) -> AnswerKind:
    """The kind of answer a question has: given by its choices, or by the gold answer where there are none."""
    texts = {normal(text) for text in choices or [answer]}
    if texts <= {"yes", "no"}:
        return "yesno"
    if texts <= {"true", "false"}:
        return "truefalse"
    if choices:
        return "choice"
    return "number" if is_number(normal(answer)) else "text"


def letter(index: int) -> str:
    """The letter that names choice `index`: 0 is "a". ValueError beyond "z"."""
    if not 0 <= index < 26:
        raise ValueError(f"no letter names choice {index}; a lettered question has at most 26 choices")
    return chr(ord("a") + index)


def render_answer(answer: str, choices: Choices, style: AnswerStyle = "text") -> str:
    """`answer` written as "ignore", "(a)" or "(a) ignore"; without choices every style is the text.

    A style with a letter needs `answer` to be the text of a choice (else ValueError); a text that appears
    twice among the choices takes its first letter.
    """
    if style == "text" or not choices:
        return answer
    if answer not in choices:
        raise ValueError(f"the answer {answer!r} is not one of the choices {list(choices)!r}")
    name = f"({letter(list(choices).index(answer))})"
    return name if style == "letter" else f"{name} {answer}"


def read_answer(text: str, choices: Choices, kind: AnswerKind) -> str | None:
    """The answer that `text`, the content of an answer slot alone, states; None where it states none.

    With choices it is the choice's own text, whether the slot held that, its letter, or both. A choice whose
    whole text is a letter ("b") is recognised by its text before its position.
    """
    reading = read(text, choices, kind)
    return reading.answer if reading else None


def same_answer(a: str, b: str, choices: Choices, kind: AnswerKind) -> bool:
    """Whether two answers are the same, each given as a choice's text, a letter, or free text.

    Choices compare by the text chosen, numbers by exact value (no tolerance: 0.33 is not 1/3), yes is True,
    free texts compare without case, width, surrounding punctuation and leading article. Without choices "A"
    is "(A)" and "(a).".
    """
    if choices and a in choices and b in choices:
        return a.strip() == b.strip()  # as parsing would decide
    x, y = read(a, choices, kind), read(b, choices, kind)
    if x is None or y is None:
        return key(a) == key(b)
    if kind == "number":
        return same_number(x.answer, y.answer)
    if choices:
        return x.answer == y.answer  # both are choices verbatim: "ground" and "the ground" may be two of them
    return key(x.answer) == key(y.answer) or (kind == "text" and _same_in_value(a, b))


def _same_in_value(a: str, b: str) -> bool:
    """Whether two free texts are the same number or the same mathematics, written differently."""
    x, y = whole_number(a), whole_number(b)
    if x is not None and y is not None:
        return same_number(x, y)
    return math_form(a) != "" and math_form(a) == math_form(b)


def judge(parsed: str | None, gold: str, choices: Choices, kind: AnswerKind) -> Verdict:
    """The verdict on an answer as parsed; `unparsed` where there is none, which is not `wrong`."""
    if parsed is None:
        return "unparsed"
    return "right" if same_answer(parsed, gold, choices, kind) else "wrong"
