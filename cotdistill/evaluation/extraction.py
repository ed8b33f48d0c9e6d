"""Finding the answer in a whole generation: rationale and answer sentence apart.

Which statement counts. A generation may state an answer several times ("the most logical answer is plants.
The answer is C"; "the answer is True. However, ... The answer is False"). The *last* explicit statement is
the answer: what comes before it is thinking aloud, and to grade that would be to grade the reasoning. Where
the last cannot be read there is none ("The answer is C: wind. However, ... The answer is incorrect"). "The
answer must be a place where ..." and "the answer is not (b)" are no statements. What follows once the model
has begun a question of its own ("Q: ...") is not part of its answer.

Where the rationale ends. Where the closing run of statements begins: when the last one follows at once on
another that says the same and nothing else ("Therefore, the answer is plants. The answer is C"), the split
is at the first, or the rationale would carry a finished answer sentence into training, and a student's walk
would stop there. A statement with reasoning after it, or amid a sentence, stays in the rationale.

Without an explicit statement the last sentence alone may state an answer, under stricter rules; the whole
text then remains the rationale. `extract_last` reads the same generations by another, cruder rule (the last
mention wins), so that a result can say how much it depends on the extractor.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from cotdistill.evaluation.numbers import first_number, last_number
from cotdistill.evaluation.reading import (
    AnswerKind,
    Choices,
    Reading,
    last_sentence,
    leading_polarity,
    mentions,
    only_mention,
    plain,
    polar,
    read,
    read_text,
)

_STATEMENT = re.compile(
    r"""(?: \b(?:so|thus|hence|therefore|consequently|finally|overall|in\ conclusion)\b,?\s+ (?:then,?\s+)? )?
        (?:
          (?P<answer_is> (?: \b(?:the|my|our)\s+ (?:[\w'-]+\s+){0,4}? )?
            \b (?<!wrong\s)(?<!incorrect\s)(?<!no\s)
            (?: answer (?:\s+(?:choice|option))? | final\s+(?:result|output) )
            (?: \s+(?:to|for|that|which)\s+[^.,:;\n]{0,60}? )?
            (?: \s+is\b(?!n't|\s+not\b) \s*:? | \s*\**\s*[:=]
              | \s+(?:[-–—]\s*)?(?=[(\[]?[A-Z][)\]]?\W*(?:\n|\Z)) ) )
        | (?P<option_is> \b the\s+ (?:most\s+\w+|correct|right|best|closest|final|only\s+\w+)\s+
            (?:option|choice)\s+ is\b(?!n't|\s+not\b) \s*:? )
        | (?P<to_answer> \b to\s+answer\s+(?:the|this|your)\s+question,? )
        | (?P<hashes> \#\#\#\# )
        | (?P<boxed> \\boxed\s*(?=\{) )
        )""",
    re.VERBOSE | re.IGNORECASE,
)
_CONDITION = re.compile(r"\bif\b[^.!?\n]*\Z", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"^(?:so|thus|hence|therefore|consequently|overall|in conclusion)\b,?\s*"
    r"|\b(?:answer|option|choice|correct)\b",
    re.IGNORECASE,
)
_TEXT_CONCLUSIONS = [
    re.compile(r"(?:\b(?:is|are|be|get|gives|us)|[=:])\s*(\"[^\"\n]+\")"),
    re.compile(r"(\"[^\"\n]+\")\W*$"),
    re.compile(r"^(?:.*\b(?:is|are|be|get|gives|us)\b|.*[=:])\s*(.+)", re.DOTALL),
    re.compile(r"^(\S+)$"),
]
_FEW_WORDS = 5  # of free text alone: an answer without a rationale, not a sentence
_OWN_QUESTION = re.compile(r"\n\s*(?:Q|Question)\s*\d*\s*[:.]")
_BOX = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*)\}")
_SENTENCE_BEFORE = re.compile(r"(?:^|[.!?\n:][\"')\]*]*)[\s*-]*\Z")


@dataclass(frozen=True)
class Extracted:
    """An answer and the rationale before it.

    `answer` is canonical (the choice's own text where there are choices) or None; `rule` names what found
    it ("none" where nothing did); text[:start], trimmed, is the rationale, and `start` is len(text) where
    there is no answer sentence.
    """

    answer: str | None
    rationale: str
    rule: str
    start: int


Extractor = Callable[[str, Choices, AnswerKind], Extracted]


@dataclass(frozen=True)
class _Statement:
    start: int
    rule: str
    reading: Reading | None
    blank: bool  # the slot is empty: "the answer is: The answer is B"
    conditional: bool  # "if you mean X, then the answer is no"


def extract(text: str, choices: Choices, kind: AnswerKind) -> Extracted:
    """The answer of a whole generation by its last explicit statement, else by its last sentence.

    `choices` are in the order in which their letters were shown.
    """
    flat = plain(text)
    statements = _statements(flat, choices, kind)
    at = _decisive(statements)
    decisive = statements[at].reading if at is not None else None
    if at is not None and decisive is not None:
        return _split(text, decisive.answer, statements[at].rule, _run_start(flat, statements, at))
    answer = _conclusion(flat, choices, kind)
    bare = read(flat, choices, kind)
    if bare and bare.whole and (kind != "text" or (answer is None and len(flat.split()) <= _FEW_WORDS)):
        return _split(text, bare.answer, "bare", 0)
    return _split(text, answer, "none" if answer is None else "last-sentence", len(text))


def extract_last(text: str, choices: Choices, kind: AnswerKind) -> Extracted:
    """The alternative extractor: the last mention of any answer wins, wherever it stands.

    The rationale is split off as by `extract`, so that the two differ in the answer alone.
    """
    flat = plain(text)
    answer: str | None = None
    if kind == "choice" and choices:
        answer = next((choice for _, choice in reversed(mentions(flat, choices, capitals=True))), None)
    elif kind in ("yesno", "truefalse"):
        words = re.findall(r"\b(?:yes|no|true|false)\b", flat, re.IGNORECASE)
        answer = polar(words[-1], choices, kind) if words else None
    elif kind == "number":
        answer = last_number(flat)
    else:
        words = re.findall(r"\w(?:[\w'-]*\w)?", flat)
        answer = words[-1] if words else None
    rule = "none" if answer is None else "last-mention"
    return _split(text, answer, rule, extract(text, choices, kind).start)


def _split(text: str, answer: str | None, rule: str, start: int) -> Extracted:
    return Extracted(answer=answer, rationale=text[:start].strip(), rule=rule, start=start)


def _statements(flat: str, choices: Choices, kind: AnswerKind) -> list[_Statement]:
    """Every explicit statement, up to where the model asks a question of its own after a readable one."""
    matches = list(_STATEMENT.finditer(flat))
    found: list[_Statement] = []
    limit = len(flat)
    for match, following in zip(matches, [*matches[1:], None], strict=False):
        if match.start() >= limit:
            break
        asked = _OWN_QUESTION.search(flat, match.end())
        ends = [end.start() for end in (following, asked) if end]
        slot = flat[match.end() : min(ends, default=len(flat))]
        if match["boxed"] and (box := _BOX.match(slot)):
            slot = box[1]
        reading = read(slot, choices, kind)
        if reading and asked:
            limit = min(limit, asked.start())
        rule = (match.lastgroup or "").replace("_", "-")
        conditional = _CONDITION.search(flat, max(0, match.start() - 200), match.start()) is not None
        found.append(_Statement(match.start(), rule, reading, not slot.strip(), conditional))
    return found


def _decisive(statements: list[_Statement]) -> int | None:
    """The place of the statement that counts: the last that is not conditional, whether readable or not.

    Conditional ones count only where there is no other and all that can be read agree.
    """
    firm = [i for i, s in enumerate(statements) if not s.blank and not s.conditional]
    if firm:
        return firm[-1]
    readable = {i: s.reading.answer for i, s in enumerate(statements) if s.reading}
    return max(readable) if len(set(readable.values())) == 1 else None


def _run_start(flat: str, statements: list[_Statement], at: int) -> int:
    """Where the closing run begins: back over statements that fill their sentence and say the same."""
    last = statements[at].reading
    while at > 0:
        before = statements[at - 1]
        same = before.reading and last and before.reading.whole and before.reading.answer == last.answer
        if not (before.blank or same) or not _SENTENCE_BEFORE.search(flat, 0, before.start):
            break
        at -= 1
    return statements[at].start


def _conclusion(flat: str, choices: Choices, kind: AnswerKind) -> str | None:
    """What the last sentence states where no statement is explicit.

    The sentence must conclude ("So ...", "... is the correct option"), unless its first word is the answer.
    A choice must be all of it, or the only one it names, nothing negated, and the sentence finished: a
    generation that was cut off has no conclusion. Yes or no must stand first, before a comma or the end ("No
    evidence ..." is neither). A number is the first after the last "=", or else the last. A free text is
    quoted, or what follows the last "is", "get", "=" or ":", or the sentence's only word.
    """
    sentence = last_sentence(flat)
    if kind == "number":
        _, equals, result = sentence.rpartition("=")
        return (first_number(result) if equals else None) or last_number(sentence)
    concludes = _CONCLUSION.search(sentence) is not None
    if kind == "choice" and choices:
        reading = read(sentence, choices, kind)
        if reading and reading.whole:
            return reading.answer
        finished = sentence.endswith((".", "!", ")", '"', "'", "*"))
        return only_mention(sentence, choices, within=len(sentence)) if concludes and finished else None
    if kind in ("yesno", "truefalse"):
        sentence = _CONCLUSION.sub("", sentence, count=1) if concludes else sentence
        word = leading_polarity(sentence)
        closed = word and re.match(r"\s*(?:[,.;:!-]|$)", sentence[word.end() :])
        return polar(word[1], choices, kind) if word and closed else None
    for pattern in _TEXT_CONCLUSIONS:
        if stated := pattern.search(sentence):
            return read_text(stated[1])
    return None
