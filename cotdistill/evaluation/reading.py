"""Reading one answer slot: the few words in which a model states its answer.

What a slot must look like. The answer stands first in it, or is the only choice its first sentence names
where nothing in that sentence negates. "(c) jam and (e) break" is read as (c), which stands first;
"either (c) jam or (e) break" names two and states neither. "(A) or (B)" where there
are no others is no statement either, nor is a letter with the text of another choice. Where no rule applies
nothing is guessed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cotdistill.evaluation.numbers import first_number

AnswerKind = Literal["choice", "yesno", "truefalse", "number", "text"]
Choices = Sequence[str] | None

# Character for character, so that offsets into the plain text are offsets into the original.
_PLAIN = {0xFF01 + i: 0x21 + i for i in range(94)} | str.maketrans("\u3000\u00a0−‘’“”", "  -''\"\"")
_POLARITY = {"yes": True, "true": True, "no": False, "false": False}
_WRAPPING = " \t\r\n*`_$\\{}<>"  # markdown and LaTeX around an answer

_LEAD = re.compile(  # words and marks that may stand before an answer without changing it
    r"(?:(?:most\s+)?likely|probably|therefore|thus|then|again|also|indeed|clearly|definitely|simply|actually"
    r"|still|now|that|option|choice|answer|letter|given\s+as|text|boxed|[:=,{(\[<>*`\"'])\s*",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|none|cannot|without|unlike|except|incorrect|wrong|eliminat\w+"
    r"|rather\s+than|instead\s+of|ruled?\s+out|\w+n't)\b",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[(\[]\s*([A-Za-z])\s*[)\]]")
_CAPITAL = re.compile(r"(?<![\w'.])([A-Z])(?=\s*(?:$|[.,:;)\]!?*\n}<>]))")
_BARE_LETTER = re.compile(  # in "A bird" the A is an article, in "B because" and "A because" a letter
    r"([A-Za-z])(?=\s*(?:$|[.,:;)\]!?*\n}<>]|[-–—]\s)|\s+(?:because|since|and|or|is)\b)|([B-HJ-Z])(?=\s)"
)
_AFTER_LETTER = re.compile(r"^[\s.:;,)]*(?:[-–—]\s+)?")
_BOTH = re.compile(  # "(A) or (B)", "yes and no"
    r"\W*(yes|no|true|false|[a-z])\W+(?:or|and)\W+(?!\1)(?:yes|no|true|false|[a-z])\W*$", re.IGNORECASE
)
_CLAUSE_END = re.compile(
    r"\s*(?:$|[.,:;!?)\]\n*}\"'](?!\d)|[-–—]\s|\((?!\w\))|(?:because|since|as|so)\b)", re.IGNORECASE
)
_SENTENCE_END = re.compile(  # not after one or two letters: "J. K. Rowling", "St. Louis"
    r"\n|(?<!\b[A-Za-z])(?<!\b[A-Za-z]{2})[.!?][\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9])"
)
_WORD_BEFORE, _NUMBER_BEFORE = re.compile(r"\w$"), re.compile(r"\w$|\d[.,/:]$|(?:^|[^\w)])-$")
_WORD_AFTER, _NUMBER_AFTER = re.compile(r"\w"), re.compile(r"\w|[.,/:]\d")


@dataclass(frozen=True)
class Reading:
    """What a slot states, whether it states nothing besides (`whole`), and what follows a letter (`rest`)."""

    answer: str
    whole: bool = False
    rest: str = ""


def read(slot: str, choices: Choices, kind: AnswerKind) -> Reading | None:
    """What `slot` states; None where it states nothing that can be read."""
    if choices and (choice := _equal(slot, choices, str.strip)) is not None:
        return Reading(choice, whole=True)
    slot = plain(slot)
    if kind in ("choice", "yesno", "truefalse") and len(choices or "yn") == 2 and _BOTH.match(slot):
        return None
    if kind == "choice" and choices:
        return _read_choice(slot, choices)
    if kind in ("yesno", "truefalse"):
        return _read_polarity(slot, choices, kind)
    if kind == "number":
        number = first_number(first_sentence(slot.strip()))
        return None if number is None else Reading(number, whole=not re.search(r"[A-Za-z]|\S\n+\S", slot))
    text = read_text(slot)
    return None if text is None else Reading(text, whole=normal(text) == normal(slot))


# ---------------------------------------------------------------------------------------------- plain text


def plain(text: str) -> str:
    """`text` with full-width and typographic characters made ASCII, one for one."""
    return text.translate(_PLAIN)


@lru_cache(maxsize=1 << 14)
def cased(text: str) -> str:
    """`text` without full-width forms, doubled blanks, quotes around it and punctuation after it."""
    line = " ".join(plain(text).split())
    bare = line.lstrip("\"'`*_ ").rstrip("\"'`*_ .,;:!?…")  # no "." on the left: ".5" is a number
    if match := re.fullmatch(r"[(\[]\s*(\w)\s*[)\]]", bare):
        return match[1]
    return bare or line


def normal(text: str) -> str:
    """The `cased` form without case."""
    return cased(text).casefold()


@lru_cache(maxsize=1 << 14)
def key(text: str) -> str:
    """The normal form without a leading article: "The library." is "library"."""
    return re.sub(r"^(?:an?|the)\s+(?=\S)", "", normal(text))


def first_sentence(text: str) -> str:
    """The first sentence of `text`; "3.5", "J. K." and "St. Louis" do not end one."""
    end = _SENTENCE_END.search(text)
    return text[: end.end()].strip() if end else text


def last_sentence(text: str) -> str:
    """The last sentence of `text`."""
    text = text.strip()
    ends = list(_SENTENCE_END.finditer(text))
    return text[ends[-1].end() :] if ends else text


# ------------------------------------------------------------------------------------------------- choices


def only_mention(text: str, choices: Sequence[str], within: int) -> str | None:
    """The one choice that text[:within] names (its name may reach further); None if it negates anything."""
    named = {normal(choice): choice for begin, choice in mentions(text, choices) if begin < within}
    rest = text[:within].lower()
    for form in named:
        rest = rest.replace(form, "")  # a choice may itself hold a "not"
    return next(iter(named.values())) if len(named) == 1 and not _NEGATION.search(rest) else None


def mentions(text: str, choices: Sequence[str], capitals: bool = False) -> list[tuple[int, str]]:
    """Where `text` names a choice, as (offset, choice) in order: by its text or its letter.

    A letter counts in brackets, with `capitals` also alone, as a capital before punctuation or the end.

    Texts match as whole words and numbers, the longest at a place: "deep sea fish" is not "fish", "100"
    not "10", "11/2/2019" not "2".
    """
    lower = text.lower()
    letters = [*_BRACKETED.finditer(text), *(_CAPITAL.finditer(text) if capitals else ())]
    found = [
        (match.start(), match.end(), choice)
        for match in letters
        if (choice := _lettered(match, choices)) is not None
    ]
    for choice in choices:
        form = normal(choice)
        begin = lower.find(form) if form else -1
        while begin >= 0:
            if _stands_alone(lower, begin, begin + len(form)):
                found.append((begin, begin + len(form), choice))
            begin = lower.find(form, begin + 1)
    kept, covered = [], 0
    for begin, end, choice in sorted(found, key=lambda f: (f[0], -f[1], cased(f[2]) != text[f[0] : f[1]])):
        if begin >= covered:
            kept.append((begin, choice))
            covered = end
    return kept


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """Whether text[begin:end] is cut out of no longer word, number or date."""
    first, last = text[begin], text[end - 1]
    before = _NUMBER_BEFORE if first.isdigit() else _WORD_BEFORE
    after = _NUMBER_AFTER if last.isdigit() else _WORD_AFTER
    if first.isalnum() and before.search(text[max(0, begin - 2) : begin]):
        return False
    return not (last.isalnum() and after.match(text[end : end + 2]))


def _read_choice(slot: str, choices: Sequence[str]) -> Reading | None:
    """By the choice's own text, a bracketed letter, a text or letter that begins the slot, or one mention."""
    for bare in _bare(slot):
        for form in (cased, normal, key):  # "WW" and "Ww" may be two choices
            if (choice := _equal(bare, choices, form)) is not None:
                return Reading(choice, whole=True)
        if (reading := _read_letter(_BRACKETED, bare, choices)) is not None:
            return _unless_contradicted(reading, choices)
        if (choice := _leading(bare, choices)) is not None:
            return Reading(choice)
        if (reading := _read_letter(_BARE_LETTER, bare, choices)) is not None:
            return _unless_contradicted(reading, choices)
    slot = slot.strip()
    choice = only_mention(slot, choices, within=len(first_sentence(slot)))
    return None if choice is None else Reading(choice)


def _bare(slot: str) -> Iterator[str]:
    """`slot` as it stands, then without the words and marks that may precede an answer."""
    yield slot.strip()
    slot = shorter = slot.strip(_WRAPPING)
    yield slot
    while match := _LEAD.match(shorter):
        shorter = shorter[match.end() :]
    if shorter != slot:
        yield shorter.rstrip(_WRAPPING)


def _equal(slot: str, choices: Sequence[str], form: Callable[[str], str]) -> str | None:
    """The first choice that equals the whole slot when both are put in `form`."""
    return next((choice for choice in choices if form(choice) == form(slot)), None)


def _leading(slot: str, choices: Sequence[str]) -> str | None:
    """The longest choice whose text begins the slot and is followed by the end of a clause."""
    lower = re.sub(r"^(?:an?|the)\s+", "", slot.lower().lstrip("\"'"))
    fits = [c for c in choices if lower.startswith(key(c)) and _CLAUSE_END.match(lower, len(key(c)))]
    return max(fits, key=lambda choice: (len(key(choice)), cased(choice) in slot), default=None)


def _lettered(match: re.Match[str], choices: Sequence[str]) -> str | None:
    """The choice named by the letter in `match`; None where there are fewer choices."""
    index = ord((match[1] or match[match.re.groups]).lower()) - ord("a")
    return choices[index] if index < len(choices) else None


def _read_letter(pattern: re.Pattern[str], slot: str, choices: Sequence[str]) -> Reading | None:
    """The choice whose letter begins the slot: alone, before the choice's text, or before something else."""
    match = pattern.match(slot)
    choice = _lettered(match, choices) if match else None
    if match is None or choice is None:
        return None
    rest = _AFTER_LETTER.sub("", slot[match.end() :])
    return Reading(choice, whole=key(rest) in ("", key(choice)), rest=rest)


def _unless_contradicted(reading: Reading, choices: Sequence[str]) -> Reading | None:
    """`reading` of a letter, unless what follows the letter is the whole text of another choice."""
    other = not reading.whole and any(key(reading.rest) == key(choice) for choice in choices)
    return None if other else reading


# ---------------------------------------------------------------------------------------- yes/no and text


def leading_polarity(slot: str) -> re.Match[str] | None:
    """The yes, no, true or false that `slot` begins with."""
    return re.match(r"(yes|no|true|false)\b", slot, re.IGNORECASE)


def polar(word: str, choices: Choices, kind: AnswerKind) -> str:
    """`word` ("True", "no", ...) in the words of the choices, else in those of `kind`."""
    words = choices or (("yes", "no") if kind == "yesno" else ("true", "false"))
    positive = _POLARITY[word.lower()]
    return next((w for w in words if _POLARITY.get(normal(w)) == positive), word.lower())


def _read_polarity(slot: str, choices: Choices, kind: AnswerKind) -> Reading | None:
    """Yes or True, no or False, at the head of the slot, or the letter of either."""
    for bare in _bare(slot):
        if match := leading_polarity(bare):
            return Reading(polar(match[1], choices, kind), whole=not normal(bare[match.end() :].lstrip(".,")))
        for pattern in (_BRACKETED, _BARE_LETTER):
            if (reading := _read_letter(pattern, bare, choices or ())) is not None:
                return reading
    return None


def read_text(slot: str) -> str | None:
    """The quotation a slot begins with, else its first sentence without marks around it; None if empty."""
    slot = slot.strip().lstrip(":").strip(_WRAPPING)
    quoted = re.match(r"\"([^\"\n]+)\"|'([^'\n]+)'(?!\w)", slot)
    text = (quoted[1] or quoted[2]) if quoted else first_sentence(slot)
    return text.strip(_WRAPPING + "\"'").rstrip(".,;:!? ") or None
