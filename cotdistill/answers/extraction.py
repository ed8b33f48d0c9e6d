"""Finding the answer in a whole generation: rationale and answer sentence are split.

Which statement counts. A generation may state an answer several times ("the most logical answer is plants.
The answer is C"; "the answer is True. However, ... The answer is False"). The *last* statement is
the answer: what comes before it is thinking aloud, and to grade that would be to grade the reasoning. Where
the last cannot be read there is none ("The answer is C: wind. However, ... The answer is incorrect"), nor where
it is taken back ("The answer is C. Wait, that is wrong."). "The answer must be a place where ..." is no
statement. Thoughts in their own tags are not part of the answer, nor is what follows once the model
has begun a turn of its own ("Q: ...", "User: ...").

Where the rationale ends. Where the closing run of statements begins: when the last one follows at once on
another that says the same and nothing else ("Therefore, the answer is plants. The answer is C"), the split
is at the first, or the rationale would carry a finished answer sentence into training, and a student's walk
would stop there. A statement with reasoning after it, or amid a sentence, stays in the rationale.

Without an explicit statement the last sentence alone may state an answer, under stricter rules; the whole
text then remains the rationale. `last_mention` reads the same generations by another, cruder rule (the last
mention wins), so that a result can say how much it depends on the extractor.
"""

import re
from dataclasses import dataclass

from cotdistill.answers import phrases, polarity
from cotdistill.answers.numbers import first_number, last_number, last_stated
from cotdistill.answers.plain_text import composed_with_offsets, first_sentence, last_sentence, plain
from cotdistill.answers.slot import AnswerKind, Choices, mentions, only_mention, read, read_text
from cotdistill.answers.statements import IN_PASSING, Statement, formatted, lowered, statements
from cotdistill.answers.thoughts import answer_region

EXPLICIT = {"answer-is", "option-is", "to-answer", "hashes", "boxed"}  # rules that read a statement
_CONCLUSION = re.compile(
    r"^(?:so|thus|hence|therefore|consequently|overall|in conclusion)\b,?\s*"
    r"|\b(?:answer|option|choice|correct)\b",
    re.IGNORECASE,
)
_REPLY = re.compile(r"\W*(?:yes|no)\s*[,;:—–]", re.IGNORECASE)
_TEXT_CONCLUSIONS = [
    re.compile(r"(?:\b(?:is|are|be|get|gives|us)|[=:])\s*(\"[^\"\n]+\")"),
    re.compile(r"(\"[^\"\n]+\")\W*$"),
    re.compile(r"^(?:.*\b(?:is|are|be|get|gives|us)\b|.*[=:])\s*(.+)", re.DOTALL),
    re.compile(r"^(\S+)$"),
]
_FEW_WORDS = 5  # of free text alone: an answer without a rationale, not a sentence
_SENTENCE_BEFORE = re.compile(r"(?:^|[.!?\n:][\"')\]*]*)[\s*-]*\Z")
_ASSISTANT = re.compile(r"\W*(?:\w+\|>)?\s*assistant\W*(?:\w+\|>)?\W*")  # the head of the model's own turn
_CLAUSE_END = re.compile(r"[.,;!?\n–—]")
_CLAUSES = re.compile(r",(?!\d)\s*|;\s*")
_SUBORDINATE = re.compile(
    r"\b(?:after|since|because|as|when|while|once|if|given|considering|having|(?:out|left|remaining)\s+of|from|than|for|before|until|with|in|on|at)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Extracted:
    """An answer and the rationale before it.

    `answer` is canonical (the choice's own text where there are choices) or None; `rule` names the rule that found
    it ("none" where nothing did); text[:start], trimmed, is the rationale, and `start` is len(text) where
    there is no answer sentence.
    """

    answer: str | None
    rationale: str
    rule: str
    start: int


def extract(text: str, choices: Choices, kind: AnswerKind) -> Extracted:
    """The answer of a whole generation by its last explicit statement, else by its last sentence.

    `choices` are in the order in which their letters were shown.
    """
    flat, offsets = composed_with_offsets(text)
    flat = plain(flat)
    found = _stated(flat, choices, kind)
    answer, rule, start = found if isinstance(found, tuple) else _unstated(flat, found, choices, kind)
    return _split(text, answer, rule, offsets[start] if offsets else start)


def states(text: str, choices: Choices, kind: AnswerKind) -> bool:
    """Whether `extract` finds an explicit statement that counts, by its `EXPLICIT` rules; it reads no last sentence
    for that, which takes most of its time."""
    found = _stated(plain(composed_with_offsets(text)[0]), choices, kind)
    return isinstance(found, tuple) and found[1] in EXPLICIT


@dataclass(frozen=True)
class _Unstated:
    """The region in which a text states no answer; `unreadable`: it says where one is and that cannot be read."""

    begin: int
    end: int
    unreadable: bool


def _stated(flat: str, choices: Choices, kind: AnswerKind) -> tuple[str | None, str, int] | _Unstated:
    """(answer, rule, where the answer sentence begins) by what a plain text states."""
    begin, end = answer_region(flat)
    lower = lowered(flat)
    end, soft = _own_turn(lower, begin, end)
    field = formatted(flat, begin, end, choices, kind)
    if field is not None and field.reading is not None:
        return field.reading.answer, field.rule, field.start
    within = _within_turn(statements(flat, lower, begin, end, choices, kind), soft)
    at = _decisive(within)
    if at is not None and (reading := within[at].reading) is not None:
        if _taken_back(flat, within[at], next((place for place in soft if place > within[at].end), end)):
            return None, "none", len(flat)
        start = len(flat) if within[at].rule == IN_PASSING else _run_start(flat, within, at)
        return reading.answer, within[at].rule, start
    cut = field is not None or (kind == "number" and at is not None and _ends_text(flat, within[at], end))
    return _Unstated(begin, end, cut)


def _unstated(flat: str, where: _Unstated, choices: Choices, kind: AnswerKind) -> tuple[str | None, str, int]:
    """(answer, rule, where the answer sentence begins) by the last sentence, or by a text that is nothing else."""
    own = flat[where.begin : where.end]
    answer = None if where.unreadable else _conclusion(own, choices, kind)
    bare = read(own, choices, kind)
    if bare and bare.whole and (kind != "text" or (answer is None and len(flat.split()) <= _FEW_WORDS)):
        return bare.answer, "bare", where.begin
    return answer, "none" if answer is None else "last-sentence", len(flat)


def last_mention(text: str, choices: Choices, kind: AnswerKind) -> str | None:
    """The answer by the alternative extractor: the last mention of any answer, wherever it is."""
    flat = plain(text)
    answer: str | None = None
    if kind == "choice" and choices:
        answer = next((choice for _, choice in reversed(mentions(flat, choices, capitals=True))), None)
    elif kind in ("yesno", "truefalse"):
        words = re.findall(r"\b(?:yes|no|true|false)\b", flat, re.IGNORECASE)
        answer = polarity.in_words(polarity.WORDS[words[-1].lower()], choices, kind) if words else None
    elif kind == "number":
        answer = last_number(flat)
    else:
        words = re.findall(r"\w(?:[\w'-]*\w)?", flat)
        answer = words[-1] if words else None
    return answer


def _split(text: str, answer: str | None, rule: str, start: int) -> Extracted:
    return Extracted(answer=answer, rationale=text[:start].strip(), rule=rule, start=start)


def _own_turn(lower: str, begin: int, end: int) -> tuple[int, list[int]]:
    """Where the model's turn certainly ends, and where it may: its own questions before that."""
    questions: list[int] = []
    if "\n" not in lower and "<" not in lower and "[" not in lower:
        return end, questions
    for match in phrases.TURN.finditer(lower, begin, end):
        if match["question"]:
            questions.append(match.start())
        elif (before := lower[begin : match.start()].strip()) and not _ASSISTANT.fullmatch(before):
            return match.start(), questions
    return end, questions


def _within_turn(candidates: list[Statement], soft: list[int]) -> list[Statement]:
    """The statements up to the first question of the model's own that follows a readable one."""
    first = next((s for s in candidates if s.reading), None)
    limit = next((at for at in soft if first and at >= first.end), None)
    return candidates if limit is None else [s for s in candidates if s.start < limit]


def _decisive(candidates: list[Statement]) -> int | None:
    """The index of the statement that counts: the last that is not conditional, whether readable or not.

    Conditional ones count only where there is no other and all that can be read agree.
    """
    firm = [i for i, s in enumerate(candidates) if not s.blank and not s.conditional]
    if firm:
        return firm[-1]
    readable = {i: s.reading.answer for i, s in enumerate(candidates) if s.reading}
    return max(readable) if len(set(readable.values())) == 1 else None


def _ends_text(flat: str, statement: Statement, end: int) -> bool:
    """Whether a statement is in the last sentence."""
    rest = flat[statement.start : end].strip()
    return first_sentence(rest) == rest


def _taken_back(flat: str, statement: Statement, end: int) -> bool:
    """Whether the statement is taken back afterwards."""
    clause_end = _CLAUSE_END.search(flat, statement.end, end)
    return clause_end is not None and phrases.RETRACTED.search(flat, clause_end.end(), end) is not None


def _run_start(flat: str, candidates: list[Statement], at: int) -> int:
    """Where the closing run begins: back over statements that fill their sentence and say the same."""
    last = candidates[at].reading
    while at > 0:
        before = candidates[at - 1]
        same = before.reading and last and before.reading.whole and before.reading.answer == last.answer
        fills = before.explicit and _SENTENCE_BEFORE.search(flat, max(0, before.start - 40), before.start)
        if not (before.blank or same) or not fills:
            break
        at -= 1
    return candidates[at].start


def _conclusion(flat: str, choices: Choices, kind: AnswerKind) -> str | None:
    """The answer of the last sentence, where no statement is explicit.

    The sentence must conclude ("So ...", "... is the correct option"), unless its first word is the answer.
    A choice must be all of it, or the only one it names, nothing negated, and the sentence finished: a
    generation that was cut off has no conclusion. Yes or no must come first, before a comma or the end ("No
    evidence ..." is neither). A number is the first after the last "=", or else the last of its main clause. A
    free text is quoted, or what follows the last "is", "get", "=" or ":", or the sentence's only word.
    """
    sentence = last_sentence(flat)
    if kind == "number":
        _, equals, result = sentence.rpartition("=")
        return (first_number(result) if equals else None) or _concluding_number(sentence)
    concludes = _CONCLUSION.search(sentence) is not None
    if kind == "choice" and choices:
        reading = read(sentence, choices, kind)
        if reading and reading.whole:
            return reading.answer
        finished = sentence.endswith((".", "!", ")", '"', "'", "*", "。"))
        return only_mention(sentence, choices, within=len(sentence)) if concludes and finished else None
    if kind in ("yesno", "truefalse"):
        return _concluding_polarity(sentence, concludes, choices, kind)
    for pattern in _TEXT_CONCLUSIONS:
        if stated := pattern.search(sentence):
            return read_text(stated[1])
    return None


def _concluding_number(sentence: str) -> str | None:
    """The last number of the last clause that has one and depends on no other; what trails behind it is cut:
    "she has 18 apples left after giving 4"."""
    for clause in reversed(_CLAUSES.split(sentence)):
        if _SUBORDINATE.match(clause.lstrip()) or last_number(clause) is None:
            continue
        for cut in _SUBORDINATE.finditer(clause):
            if last_number(clause[: cut.start()]) is not None:
                return last_stated(clause[: cut.start()])
        return last_stated(clause)
    return last_stated(sentence)


def _concluding_polarity(sentence: str, concludes: bool, choices: Choices, kind: AnswerKind) -> str | None:
    answers = _CONCLUSION.match(sentence) or _REPLY.match(sentence)
    if (stated := polarity.stated_polarity(sentence, anything=kind == "truefalse" and answers is not None)) is not None:
        return polarity.in_words(stated[0], choices, kind)
    rest = _CONCLUSION.sub("", sentence, count=1) if concludes else sentence
    word = polarity.leading(rest)
    closed = word and re.match(r"\s*(?:[,.;:!。，-]|$)", rest[word[1] :])
    return polarity.in_words(word[0], choices, kind) if word and closed else None
