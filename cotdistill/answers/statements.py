"""Every statement of an answer in a generation, in order.

Explicit ones ("the answer is", a box, a tag, a field) state the answer whether it can be parsed or not. Those in
passing ("I choose (B)", "it must be (B)", "C is the correct answer", "this claim is false", "wait, actually 12")
are statements only where an answer follows, alone in its clause.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from cotdistill.answers import phrases, polarity
from cotdistill.answers.slot import AnswerKind, Choices, Reading, read, read_clause, read_negated

IN_PASSING = "in-passing"  # the rule of statements that end no rationale
_CONDITION = re.compile(r"\bif\b[^.!?\n]*\Z", re.IGNORECASE)
_ANS = re.compile(r"\bans\b\.?\s*[:=]")
_COPULA = re.compile(r"\s*(?:です|である|だ|입니다|이다)[。.\s]*\Z")  # after the answer in Japanese and Korean
_FINAL = re.compile(r"final\s+(?:result|output)")
_MODAL = re.compile(r"\s+(?:must|would|should|has\s+to)\Z", re.IGNORECASE)
_ENDS_CLAUSE = re.compile(
    r"[*_`]*\s*(?:[.,;:!)\n]|\Z|(?:answer|option|choice|one|fit|match|because|since|as|here)\b)", re.IGNORECASE
)
_ASKS = re.compile(r"[^.!\n]{0,60}\?")
_PRONOUN = re.compile(r"(?:it|this|that|which|what|here|there|he|she|they|so)\b", re.IGNORECASE)
_JUDGES = ("rue", "alse", "orrect", "rong", "ight", "ccurate", "alid", *polarity.SUBJECTS_ABROAD,
           *(word.capitalize() for word in polarity.SUBJECTS_ABROAD))  # fmt: skip
_BOXES = 100  # only the last ones are examined
_SUBJECT_WORDS = 5  # of a free text before "is the answer"
_MARKDOWN_BEFORE = re.compile(r"(?:(?:(?<=\n)|\A)[\s>#*_`-]+|[*_`#]+\s?|\s)\Z")


class Statement(NamedTuple):
    """One statement: text[start:end] announces its slot text[end:until]."""

    start: int
    end: int
    rule: str
    reading: Reading | None = None
    blank: bool = False  # the slot is empty: "the answer is: The answer is B"
    conditional: bool = False  # "if you mean X, then the answer is no"
    explicit: bool = True
    weak: bool = False  # explicit in its words, but a statement only where it can be parsed
    negated: bool = False
    slot: str | None = None  # where it is not what follows
    until: int = 0
    language: str = "en"


def lowered(text: str) -> str:
    """`text` in lower case, character for character."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def statements(text: str, lower: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> list[Statement]:
    """All statements in text[begin:end], read, explicit and in passing, in order; `lower` is `lowered(text)`."""
    candidates = sorted(_explicit(text, lower, begin, end), key=lambda s: (s.start, s.end))
    chosen: list[Statement] = []
    for statement in candidates:
        if not chosen or statement.start >= chosen[-1].end:
            chosen.append(statement)
    read_ones = list(_read_all(text, end, chosen, choices, kind))
    stated = next((s.end for s in read_ones if s.reading), None)
    passing = list(_in_passing(text, lower, begin, end, choices, kind, stated))
    if not passing:
        return read_ones
    free = [s for s in passing
            if not any(e.start <= s.start and not text[e.end : s.start].strip() for e in read_ones)]  # fmt: skip
    return sorted([*read_ones, *free], key=lambda s: s.start)


# --------------------------------------------------------------------------------------------- explicit


def _explicit(text: str, lower: str, begin: int, end: int) -> Iterator[Statement]:
    """The places of explicit statements, unread."""
    if "answer" in lower or "final" in lower:
        yield from _answers(text, lower, begin, end)
    if "ption" in lower or "hoice" in lower:
        yield from _options(text, lower, begin, end)
    if "ans:" in lower or "ans." in lower or "ans =" in lower:
        for match in _ANS.finditer(lower, begin, end):
            yield Statement(match.start(), match.end(), "answer-is")
    for at in _places(text, "####", begin, end):
        yield Statement(at, at + 4, "hashes")
    for command in ("\\boxed", "\\fbox"):
        for at in [*_places(text, command, begin, end)][-_BOXES:]:
            yield _box(text, at, at + len(command), end)
    for language, word, pattern in phrases.FOREIGN_IN_ASCII if text.isascii() else phrases.FOREIGN:
        if word in lower:
            for match in pattern.finditer(text, begin, end):
                weak = language == "zh" and "案" not in match[0]
                yield Statement(match.start(), match.end(), "answer-is", weak=weak, language=language)


def _places(text: str, word: str, begin: int, end: int) -> Iterator[int]:
    at = text.find(word, begin, end)
    while at >= 0:
        yield at
        at = text.find(word, at + len(word), end)


def _answers(text: str, lower: str, begin: int, end: int) -> Iterator[Statement]:
    """ "The answer is", "Answer:", "my final answer would be", "the final result is"."""
    places = [(at, at + 6) for at in _places(lower, "answer", begin, end)]
    places += [match.span() for match in _FINAL.finditer(lower, begin, end)] if "final" in lower else []
    for at, after in places:
        if lower[after : after + 1].isalnum() or (at > 0 and (lower[at - 1].isalnum() or lower[at - 1] == "<")):
            continue
        if lower[max(0, at - 3) : at] == "to " and (to_answer := phrases.TO_ANSWER.match(text, at - 3)):
            yield Statement(at - 3, to_answer.end(), "to-answer")
            continue
        match = phrases.AFTER_ANSWER.match(text, after, end)
        if match is None or phrases.NOT_AN_ANSWER.search(lower, max(begin, at - 12), at):
            continue
        start = _lead(lower, begin, at, phrases.DETERMINED)
        if match["header"] and not phrases.AT_LINE_START.search(text, max(begin, start - 20), start):
            continue
        yield Statement(start, match.end(), "answer-is", weak=bool(match["weak"] or match["header"]),
                        negated=bool(match["is_not"]))  # fmt: skip


def _lead(lower: str, begin: int, at: int, determined: re.Pattern[str]) -> int:
    """Where the words that lead up to the noun at `at` begin: "So the correct ..."."""
    before = determined.search(lower, max(begin, at - 70), at)
    if before is None and determined is phrases.BEFORE_OPTION:
        return at
    start = before.start() if before else at
    if lower[start - 1 : start].isspace():
        leads = phrases.LEADS_IN.search(lower, max(begin, start - 30), start)
        return leads.start() if leads else start
    return start


def _options(text: str, lower: str, begin: int, end: int) -> Iterator[Statement]:
    """ "The correct option is", "Option: C", "Choice C"."""
    for word in ("option", "choice"):
        for at in _places(lower, word, begin, end):
            after = at + len(word)
            match = phrases.AFTER_OPTION.match(text, after, end)
            if match and (start := _lead(lower, begin, at, phrases.BEFORE_OPTION)) < at:
                yield Statement(start, match.end(), "option-is")
                continue
            label = phrases.LABEL.match(text, after, end)
            if label and phrases.AT_LINE_START.search(text, max(begin, at - 20), at):
                yield Statement(at, label.end(), "answer-is", weak=True)


def _box(text: str, start: int, after: int, end: int) -> Statement:
    """A box and what is in it, its braces balanced; a box that was cut off holds the rest."""
    at = after
    while at < end and text[at] in " \n":
        at += 1
    if text[at : at + 1] != "{":
        return Statement(start, after, "boxed", slot=(text[at:end].split() or [""])[0])
    depth = 0
    for place in range(at, min(end, at + 2000)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return Statement(start, place + 1, "boxed", slot=text[at + 1 : place])
    return Statement(start, at + 1, "boxed")


def _read_all(text: str, end: int, candidates: list[Statement], choices: Choices,
              kind: AnswerKind) -> Iterator[Statement]:  # fmt: skip
    """Explicit statements with their readings; weak ones without a reading are dropped."""
    for at, statement in enumerate(candidates):
        until = candidates[at + 1].start if at + 1 < len(candidates) else end
        slot = statement.slot if statement.slot is not None else text[statement.end : min(until, statement.end + 2000)]
        language = statement.language if statement.language in ("fr", "de", "es") else "en"
        if statement.negated:
            reading = read_negated(slot, choices, kind)
        elif statement.language in ("ja", "ko"):
            reading = read(_COPULA.sub("", slot.split("。")[0]), choices, kind)
        elif statement.weak and kind in ("choice", "text"):
            reading = read_clause(slot, choices, kind)
        else:
            reading = read(slot, choices, kind, language)
        if (statement.weak or statement.negated) and reading is None:
            continue
        before = text[max(0, statement.start - 200) : statement.start]
        conditional = ("if" in before or "If" in before) and _CONDITION.search(before) is not None
        yield statement._replace(start=_over_markdown(text, statement.start), reading=reading, until=until,
                      blank=not slot.strip(" \n*_`"), conditional=conditional)  # fmt: skip


def _over_markdown(text: str, start: int) -> int:
    """`start`, moved to before the marks of a heading, a list or emphasis around the statement."""
    while start and text[start - 1] in " \n\t*_`#>-":
        marks = _MARKDOWN_BEFORE.search(text, max(0, start - 12), start)
        if marks is None or marks[0].isspace():
            break
        start = marks.start()
    return start


# ------------------------------------------------------------------------------------------- in passing


def _in_passing(text: str, lower: str, begin: int, end: int, choices: Choices, kind: AnswerKind,
                stated: int | None) -> Iterator[Statement]:  # fmt: skip
    """Statements amid other words, all parsed and certain; `stated`: where the first explicit one ends."""
    if kind in ("choice", "yesno", "truefalse") and _holds(lower, phrases.CHOICE_VERBS):
        yield from _chosen(text, lower, begin, end, choices, kind)
    if kind == "choice":
        yield from _must_be(text, lower, begin, end, choices)
    yield from _subjects(text, lower, begin, end, choices, kind)
    if kind in ("yesno", "truefalse") and _holds(lower, polarity.SUBJECTS + polarity.SUBJECTS_ABROAD):
        yield from _judged(text, begin, end, choices, kind)
    if stated is not None and _holds(lower[stated:end], phrases.CORRECTIONS):
        yield from _corrected(text, stated, end, choices, kind)


def _holds(text: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 (a generator takes twice the time, and this is asked of every text)
        if word in text:
            return True
    return False


def _passing(start: int, end: int, reading: Reading) -> Statement:
    return Statement(start, end, IN_PASSING, reading, explicit=False, until=end)


def _chosen(text: str, lower: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> Iterator[Statement]:
    """ "I'll go with B", "it must be (B)", "my pick is wind"."""
    for match in phrases.CHOSEN.finditer(lower, begin, end):
        if lower[match.start() - 1 : match.start()].isalnum():
            continue
        before = (max(begin, match.start() - 60), match.start())
        if match["noun"]:
            who = phrases.MINE.search(lower, *before)
        else:
            ordered = match["verb"] in ("choose", "pick", "select") and phrases.ORDER.search(lower, *before)
            who = ordered or phrases.WHO.search(lower, *before)
        if not who or phrases.DENIED.search(lower, *before):
            continue
        reading = read_clause(text[match.end() : min(end, match.end() + 240)], choices, kind)
        if reading:
            yield _passing(match.start(), match.end(), reading)


def _must_be(text: str, lower: str, begin: int, end: int, choices: Choices) -> Iterator[Statement]:
    """ "So it must be (B)"."""
    for at in _places(lower, " be ", begin, end):
        must = phrases.MUST.search(lower, max(begin, at - 30), at)
        if must and not phrases.DENIED.search(lower, max(begin, at - 60), must.start()):
            reading = read_clause(text[at + 4 : min(end, at + 240)], choices, "choice")
            if reading:
                yield _passing(must.start(), at + 4, reading)


def _subjects(text: str, lower: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> Iterator[Statement]:
    """ "C is the correct answer", "So vitamin A is right", "18 is the answer"."""
    for link in phrases.LINKS:
        for at in _places(lower, link, begin, end):
            match = phrases.AFTER_LINK.match(lower, at + len(link), end)
            if match and (statement := _subject_statement(text, begin, end, at, match, choices, kind)):
                yield statement


def _subject_statement(text: str, begin: int, end: int, link: int, match: re.Match[str], choices: Choices,
                       kind: AnswerKind) -> Statement | None:  # fmt: skip
    """The statement whose subject ends at `link` and whose noun `match` found; None where it is none."""
    if match["noun"] in ("best", "one", "right", "correct") and not _ENDS_CLAUSE.match(text, match.end(), end):
        return None
    start, subject = _subject(text, max(begin, link - 90), link)
    if len(subject) > (max(map(len, choices)) + 20 if choices else 40):
        return None
    if kind == "text" and (len(subject.split()) > _SUBJECT_WORDS or _PRONOUN.match(subject)):
        return None
    reading = read_clause(subject, choices, kind) if subject else None
    if reading is None or _ASKS.match(text, match.end(), end):
        return None
    return _passing(start, match.end(), reading)


def _subject(text: str, begin: int, end: int) -> tuple[int, str]:
    """The subject that ends at `end`, without what leads to it, and where its sentence begins."""
    start = max(text.rfind(mark, begin, end) for mark in ".!?;\n") + 1
    start = start if start > begin else begin
    lead, modal = phrases.SUBJECT_LEAD.match(text, start, end), _MODAL.search(text, max(start, end - 12), end)
    return start, text[lead.end() if lead else start : modal.start() if modal else end].strip(" *_\"'`,:-")


def _judged(text: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> Iterator[Statement]:
    """ "This claim is not true", by sentences."""
    at = begin
    for sentence in re.split(r"(?<=[.!?\n])\s+|(?<=[。！？])", text[begin:end]):
        place = text.find(sentence, at, end) if sentence else at
        if any(word in sentence for word in _JUDGES):
            polarity_match = polarity.stated_polarity(sentence)
            if polarity_match:
                yield _passing(
                    place + polarity_match[1],
                    place + polarity_match[2],
                    Reading(polarity.in_words(polarity_match[0], choices, kind)),
                )
        at = place + len(sentence)


def _corrected(text: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> Iterator[Statement]:
    """ "Wait, actually 12", "Correction: B": only what follows a statement corrects it."""
    if kind == "text":
        return
    for match in phrases.CORRECTED.finditer(text, begin, end):
        if kind in ("yesno", "truefalse") and match[0].lower().startswith("no"):
            continue
        reading = read_clause(text[match.end() : min(end, match.end() + 120)], choices, kind)
        if reading:
            yield _passing(match.start(), match.end(), reading)


# ------------------------------------------------------------------------------------------ tags and JSON


def formatted(text: str, begin: int, end: int, choices: Choices, kind: AnswerKind) -> Statement | None:
    """The answer in the last <answer> tag, or in the field of a JSON object; None where there is neither."""
    if "nswer>" in text or "olution>" in text or "[ANSWER]" in text or "NSWER>" in text:
        tags = list(phrases.TAGS.finditer(text, begin, end))
        if tags:
            slot = tags[-1]["slot"] if tags[-1]["slot"] is not None else tags[-1]["square"]
            return _field(text, tags[-1].start(), tags[-1].end(), slot, choices, kind)
    if "{" not in text:
        return None
    fields = list(phrases.FIELD.finditer(text, begin, end))
    if not fields:
        return None
    value = _json_value(text, begin, end, fields[0].start())
    match = fields[-1]
    if value is None:
        value = next((match[name] for name in ("double", "single", "bare") if match[name] is not None), "")
    return _field(text, match.start(), match.end(), value, choices, kind)


def _field(text: str, start: int, end: int, slot: str, choices: Choices, kind: AnswerKind) -> Statement:
    """The statement in a field: an answer, or a whole generation that states one."""
    inner = [s for s in statements(slot, lowered(slot), 0, len(slot), choices, kind) if s.reading]
    reading = inner[-1].reading if inner else read(slot, choices, kind)
    return Statement(start, end, "answer-is", reading, until=end)


def _json_value(text: str, begin: int, end: int, field: int) -> str | None:
    """The value of the answer's field in the JSON object around it; None where there is no whole object."""
    for at in dict.fromkeys((text.find("{", begin, field), text.rfind("{", begin, field))):
        if at < 0:
            continue
        try:
            value, _ = json.JSONDecoder().raw_decode(text[at : min(end, at + 20000)])
        except (json.JSONDecodeError, RecursionError, ValueError):
            continue
        for _ in range(3):
            if isinstance(value, dict):
                lower = {str(name).lower(): inside for name, inside in value.items()}
                value = next((lower[name] for name in phrases.FIELDS if name in lower), None)
            elif isinstance(value, list) and len(value) == 1:
                value = value[0]
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, (str, int, float)) else ""
    return None
