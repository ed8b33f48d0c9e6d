"""Reading the content of one answer slot: the text after "the answer is", in a box, or alone."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from cotdistill.answers import polarity
from cotdistill.answers.latex import unlatex
from cotdistill.answers.numbers import first_number, numbers, whole_number
from cotdistill.answers.plain_text import cased, composed, first_sentence, key, normal, plain

AnswerKind = Literal["choice", "yesno", "truefalse", "number", "text"]
Choices = Sequence[str] | None

_WRAPPING = " \t\r\n*`_$\\{}<>"  # markdown and LaTeX around an answer

_LEAD = re.compile(  # words and marks that may precede an answer without changing it
    r"(?:(?:(?:most\s+)?likely|probably|therefore|thus|then|again|also|indeed|clearly|definitely|simply|actually|certainly"
    r"|obviously|still|now|that|option|choice|answer|letter|given\s+as|text|boxed|only|donc|also"
    r"|l'option|la\s+opción|opción|die\s+option|lettre|letra|la)\b|选项|選項|选|選|[:=,{(\[<>*`\"'~→])\s*",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|none|cannot|without|unlike|except|incorrect|wrong|eliminat\w+"
    r"|rather\s+than|instead\s+of|ruled?\s+out|\w+n't)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\s*[(\[]\s*\w\s*[)\]][\s.]*")
_MARKED_UP = re.compile(r"[\\`*${]")
_ARTICLE, _NOT = re.compile(r"^(?:an?|the)\s+"), re.compile(r"not\s+(?=\S)", re.IGNORECASE)
_AND = re.compile(r"\s*,?\s*(?:or|and)\b")
_BRACKETED = re.compile(r"[(\[]\s*([A-Za-z])\s*[)\]]")
_CAPITAL = re.compile(r"(?<![\w'.])([A-Z])(?=\s*(?:$|[.,:;)\]!?*\n}<>。，]))")
_BARE_LETTER = re.compile(  # in "A bird" the A is an article, in "B because" and "A because" a letter
    r"([A-Za-z])(?=\s*(?:$|[.,:;)\]!?*\n}<>。，、（(`\"']|[-–—]+\s|\|)"
    r"|\s+(?:because|since|and|or|is|rather|instead|not|as|for|due|based|given|but|over|with|which|while)\b)|([B-HJ-Z])(?=\s)"
)
_AFTER_LETTER = re.compile(r"^[\s.:;,)`*\"'。，]*(?:[-–—]+\s+)?")
_BOTH = re.compile(  # "(A) or (B)", "yes and no", "true/false"
    r"\W*(yes|no|true|false|[a-z])(?:\W+(?:or|and)\W+|\s*/\s*)(?!\1)(?:yes|no|true|false|[a-z])\W*$", re.IGNORECASE
)
_SEVERAL = re.compile(  # "A and B", "(a) fish or (c) sea", "A, B and D"
    r"\W*(?:both\s+|either\s+)?(?:option\s+)?[(\[]?(?P<first>[A-Za-z])[)\]]?"
    r"(?P<text>(?:[ :]|\.\s(?![A-Z]\b))[^.;,(\n]{0,40}?)??"
    r"(?:\s*,\s*|\s*,?\s*(?:\band\b|\bor\b|&|/|\+)\s*)(?:option\s+)?"
    r"(?:[(\[](?P<second>[A-Za-z])[)\]]|(?P<bare>(?!I\b)[A-Z])(?=\s*(?:$|[.,;:)!\n]|and\b|or\b)))"
)
_CLAUSE_END = re.compile(
    r"\s*(?:$|[.,:;!?)\]\n*}\"'。，；](?!\d)|[-–—]\s|\((?!\w\))|(?:because|since|as|so|rather\s+than|instead\s+of|not)\b)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"(?<!\d)[.](?=\s|$)|(?<=\d)\.(?=\s|$)|[,;:](?!\d)|[!?。，；\n]|\s[-–—]+\s"
                     r"|\s(?:because|since|as|for|due|given|rather|instead|over|based|but)\s")  # fmt: skip
_NOT_BUT = re.compile(
    r"\s*(?:(?:is|was)\s+)?(?P<no>[^\n;.]{1,60}?)\s*[,;.:—–-]*\s+(?:but\s+rather|but|it\s+is|it's|rather|instead|the\s+answer\s+is)\s+(?P<yes>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_NEGATIVE_PREFIX = ("in", "im", "un", "non-", "non", "not ", "il", "ir", "dis")
_WORD_BEFORE, _NUMBER_BEFORE = re.compile(r"\w$"), re.compile(r"\w$|\d[.,/:]$|(?:^|[^\w)])-$")
_WORD_AFTER, _NUMBER_AFTER = re.compile(r"\w"), re.compile(r"\w|[.,/:]\d|\s\d+/\d")
_LONGEST_CLAUSE = 200  # characters: a longer one is not an answer written differently
_HAN = re.compile("[\u2e80-\u9fff\uac00-\ud7af]")  # scripts without blanks between words


@dataclass(frozen=True)
class Reading:
    """A slot's answer, whether it states nothing else (`whole`), and what follows a letter (`rest`)."""

    answer: str
    whole: bool = False
    rest: str = ""


def read(slot: str, choices: Choices, kind: AnswerKind, language: str = "en") -> Reading | None:
    """The answer in `slot`; None where none can be parsed."""
    if choices and (choice := _formed(tuple(choices))[0].get(slot.strip())) is not None:
        return Reading(choice, whole=True)
    slot = plain(composed(slot))
    if kind in ("choice", "yesno", "truefalse") and len(choices or "yn") == 2 and _BOTH.match(slot):
        return None
    if kind == "choice" and choices:
        return _read_choice(slot, choices)
    if kind in ("yesno", "truefalse"):
        return _read_polarity(slot, choices, kind)
    if kind == "number":
        number = first_number(first_sentence(slot.strip().lstrip("*_`\"' ")), language)
        return None if number is None else Reading(number, whole=not re.search(r"[^\W\d_]|\S\n+\S", slot))
    text = read_text(slot)
    return None if text is None else Reading(text, whole=normal(text) == normal(slot))


def read_clause(slot: str, choices: Choices, kind: AnswerKind, language: str = "en") -> Reading | None:
    """The answer of the first clause of `slot` if it states nothing else: "(B)" of "(B), since it is wet"."""
    slot = slot.lstrip(' \n:*`_"')
    end = _CLAUSE.search(slot)
    clause = slot[: end.start()] if end else slot
    if len(clause) > _LONGEST_CLAUSE:
        return None
    if kind == "number":
        whole = whole_number(re.sub(r"(?<=[\w%)])(?:\s+[^\W\d]+){1,2}$", "", clause.strip(_WRAPPING + "\"'.")))
        return None if whole is None else Reading(whole, whole=True)
    reading = read(clause, choices, kind, language)
    if reading is None or not (reading.whole or (kind in ("yesno", "truefalse") and len(clause.split()) == 1)):
        return None
    return reading


def read_negated(slot: str, choices: Choices, kind: AnswerKind) -> Reading | None:
    """The answer of a slot after "the answer is not": "B, it is A" states A, "valid" the opposite of valid."""
    if match := _NOT_BUT.match(slot):
        return read_clause(match["yes"], choices, kind) or read_clause("the " + match["yes"], choices, kind)
    if kind == "choice" and choices:
        opposite = _opposite(slot, choices)
        return None if opposite is None else Reading(opposite, whole=True)
    if kind in ("yesno", "truefalse") and (reading := read_clause(slot, choices, kind)):
        word = polarity.leading(normal(reading.answer))
        return Reading(polarity.in_words(not word[0], choices, kind), whole=True) if word else None
    return None


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
    candidates = [
        (match.start(), match.end(), choice) for match in letters if (choice := _lettered(match, choices)) is not None
    ]
    for choice in choices:
        form = normal(choice)
        begin = lower.find(form) if form else -1
        while begin >= 0:
            if _stands_alone(lower, begin, begin + len(form)):
                candidates.append((begin, begin + len(form), choice))
            begin = lower.find(form, begin + 1)
    apart, covered = [], 0
    for begin, end, choice in sorted(candidates, key=lambda f: (f[0], -f[1], cased(f[2]) != text[f[0] : f[1]])):
        if begin >= covered:
            apart.append((begin, choice))
            covered = end
    return apart


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """Whether text[begin:end] is not part of a longer word, number or date."""
    first, last = text[begin], text[end - 1]
    if _HAN.match(first) and _HAN.match(last):
        return True
    before = _NUMBER_BEFORE if first.isdigit() else _WORD_BEFORE
    after = _NUMBER_AFTER if last.isdigit() else _WORD_AFTER
    if first.isalnum() and before.search(text[max(0, begin - 2) : begin]):
        return False
    return not (last.isalnum() and after.match(text[end : end + 8]))


def _read_choice(slot: str, choices: Sequence[str]) -> Reading | None:
    """By the choice's own text, a bracketed letter, a text or letter that begins the slot, or one mention."""
    if _PLACE.fullmatch(slot):  # in brackets a letter is a place, even among letters
        placed = _BRACKETED.match(slot.strip())
        choice = _lettered(placed, choices) if placed else None
        return None if choice is None else Reading(choice, whole=True)
    formed = _formed(tuple(choices))
    for bare in _bare(slot):
        for form, written in enumerate((cased(bare), normal(bare), key(bare)), start=1):
            if (choice := formed[form].get(written)) is not None:  # in this order: "WW" and "Ww" may be two choices
                return Reading(choice, whole=True)
        if _several(bare, choices):
            return None
        if (reading := _read_letter(_BRACKETED, bare, choices)) is not None:
            return _unless_contradicted(reading, choices)
        if (choice := _leading(bare, choices)) is not None:
            return Reading(choice)
        if (reading := _read_letter(_BARE_LETTER, bare, choices)) is not None:
            return _unless_contradicted(reading, choices)
    if (choice := _otherwise_written(slot, choices)) is not None:
        return Reading(choice, whole=True)
    slot = slot.strip()
    if negated := _NOT.match(slot):
        return read_negated(slot[negated.end() :], choices, "choice")
    choice = only_mention(slot, choices, within=len(first_sentence(slot)))
    return None if choice is None else Reading(choice)


@lru_cache(maxsize=1 << 12)
def _formed(choices: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    """The first choice of each form: stripped, cased, normal and key."""
    return tuple({form(choice): choice for choice in reversed(choices)} for form in (str.strip, cased, normal, key))


@lru_cache(maxsize=1 << 12)
def _keyed(choices: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(key(choice), choice) for choice in choices]


def _bare(slot: str) -> Iterator[str]:
    """`slot` unchanged, then without LaTeX, markdown and words that may precede an answer."""
    yield slot.strip()
    unmarked = unlatex(slot).replace("`", "").replace("**", "") if _MARKED_UP.search(slot) else slot
    shorter = unmarked.strip(_WRAPPING)
    yield shorter
    first = shorter
    while match := _LEAD.match(shorter):
        shorter = shorter[match.end() :]
    if shorter != first:
        yield shorter.rstrip(_WRAPPING)


def _several(slot: str, choices: Sequence[str]) -> bool:
    """Whether the slot begins with more than one choice by letter: "A and B", "(a) fish or (c) sea"."""
    match = _SEVERAL.match(slot)
    if match is None:
        return False
    second = match["second"] or match["bare"]
    if match["first"] in "aAI" and match["text"] is not None and match["second"] is None:
        return False  # "A bird and I" names none
    places = [ord(mark.lower()) - ord("a") for mark in (match["first"], second)]
    return places[0] != places[1] and max(places) < len(choices)


def _equal(slot: str, choices: Sequence[str], form: Callable[[str], str]) -> str | None:
    """The first choice that equals the whole slot when both are put in `form`."""
    formed = form(slot)
    return next((choice for choice in choices if form(choice) == formed), None)


def _leading(slot: str, choices: Sequence[str]) -> str | None:
    """The longest choice whose text begins the slot and is followed by the end of a clause."""
    lower = _ARTICLE.sub("", slot.lower().lstrip("\"'"))
    fits = [c for form, c in _keyed(tuple(choices)) if lower.startswith(form) and _CLAUSE_END.match(lower, len(form))]
    if not fits or _AND.match(lower, len(key(fits[0]))):
        return None
    return max(fits, key=lambda choice: (len(key(choice)), cased(choice) in slot))


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
    following = key(rest.strip("()[] "))
    return Reading(choice, whole=key(rest) in ("", key(choice)) or following == key(choice), rest=rest)


def _unless_contradicted(reading: Reading, choices: Sequence[str]) -> Reading | None:
    """`reading` of a letter, unless what follows the letter is the whole text of another choice."""
    other = not reading.whole and any(key(reading.rest) == key(choice) for choice in choices)
    return None if other else reading


# ---------------------------------------------------------------------------------- the same, written otherwise


def _otherwise_written(slot: str, choices: Sequence[str]) -> str | None:
    """The one choice that equals the slot but for notation: hyphens, LaTeX, another form of a number."""
    clause = first_sentence(slot.strip())
    if len(clause) > _LONGEST_CLAUSE:
        return None
    for form in (_loose, math_form):
        written = form(clause)
        fits = {normal(choice): choice for choice in choices if written and form(choice) == written}
        if len(fits) == 1:
            return next(iter(fits.values()))
    quantity = _quantity(clause)
    if quantity is None:
        return None
    fits = {normal(choice): choice for choice in choices if _same_quantity(quantity, _quantity(choice))}
    return next(iter(fits.values())) if len(fits) == 1 else None


@lru_cache(maxsize=1 << 12)
def _loose(text: str) -> str:
    """Without hyphens and marks between words: "well-known" is "well known"."""
    words = " ".join(re.sub(r"[-‐‑_/,;*`\"']+", " ", key(text)).split())
    return words if re.search(r"[^\W\d_]{2}", words) and not re.search(r"\d", words) else ""


@lru_cache(maxsize=1 << 12)
def math_form(text: str) -> str:
    """Mathematics without blanks, dollar signs and kinds of brackets: "$\\dfrac{1}{2}$" is "1/2"; else ""."""
    bare = unlatex(plain(composed(text))).strip(" \n.,;:!$")
    if not re.search(r"[\d=√π∞±^\\]", bare) or re.search(r"(?<![\\A-Za-z])[A-Za-z]{4,}", bare):
        return ""
    return re.sub(r"\s+", "", bare).replace("$", "").casefold()


@lru_cache(maxsize=1 << 12)
def _quantity(text: str) -> tuple[Fraction, str] | None:
    """(number, unit) of a text that is one number with at most two words of unit or currency; None otherwise."""
    around = " .,;:!?*`\"'" if text.strip().startswith("$") else _WRAPPING + "\"'.,;:!?$"
    bare = unlatex(plain(composed(text))).strip(around)
    values = numbers(bare)
    number = whole_number(bare)
    unit = re.search(r"(?<=[\d\s%½a-z])\s*([^\W\d_]+(?:[ /]+[^\W\d_]+)?\d?)$", bare)
    if number is None and unit and len(values) <= 1:
        number = whole_number(bare[: unit.start()])
    if number is None:
        return None
    name = unit[1].lower() if unit and number and not whole_number(bare) else ""
    money = re.search(r"[$€£¥₹]|\b(?:dollars?|euros?|pounds?|usd|eur)\b", bare, re.IGNORECASE)
    percent = "%" if "%" in bare or "percent" in bare.lower() else ""
    return Fraction(number), percent or ("money" if money else name.removesuffix("s"))


def _same_quantity(a: tuple[Fraction, str], b: tuple[Fraction, str] | None) -> bool:
    return b is not None and a[0] == b[0] and (a[1] == b[1] or not a[1] or not b[1])


def _opposite(slot: str, choices: Sequence[str]) -> str | None:
    """The one choice that denies the one that `slot` names: "invalid" for "valid", and back."""
    named = key(first_sentence(slot.strip()))
    if _equal(named, choices, key) is None:
        return None
    fits = [choice for choice in choices for prefix in _NEGATIVE_PREFIX
            if key(choice) in (prefix + named,) or named == prefix + key(choice)]  # fmt: skip
    return fits[0] if len(set(fits)) == 1 else None


# ---------------------------------------------------------------------------------------- yes/no and text


def _read_polarity(slot: str, choices: Choices, kind: AnswerKind) -> Reading | None:
    """Yes or True, no or False, at the head of the slot, or the letter of either."""
    if (value := polarity.nots(slot)) is not None:
        return Reading(polarity.in_words(value, choices, kind), whole=True)
    for bare in _bare(slot):
        if leading := polarity.leading(bare):
            value, end = leading
            if (said := _of_statement(bare[end:], kind)) is not None:
                return Reading(polarity.in_words(said, choices, kind))
            return Reading(polarity.in_words(value, choices, kind), whole=not normal(bare[end:].lstrip(".,")))
        if kind == "truefalse" and (initial := re.match(r"[(\[]?([TtFf])[)\]]?\s*(?:[.,;:!]|$)", bare)):
            return Reading(polarity.in_words(initial[1].lower() == "t", choices, kind), whole=len(bare) < 4)
        for pattern in (_BRACKETED, _BARE_LETTER):
            if (reading := _read_letter(pattern, bare, choices or ())) is not None:
                return reading
    stated = polarity.stated_polarity(first_sentence(slot.strip()))
    return Reading(polarity.in_words(stated[0], choices, kind)) if stated else None


def _of_statement(rest: str, kind: AnswerKind) -> bool | None:
    """What the clause after a leading word says of the statement: "No, the statement is true." answers a question of
    the model's own, and is true."""
    if not rest.startswith((",", ";", ":", ".")):
        return None
    anything = kind == "truefalse" and not rest.startswith(".")
    stated = polarity.stated_polarity(first_sentence(rest.lstrip(",;:. ")), anything)
    return stated[0] if stated else None


def read_text(slot: str) -> str | None:
    """The quotation a slot begins with, else its first sentence without marks around it; None if empty."""
    slot = slot.strip().lstrip(":：")
    if "\\begin" in slot:
        return slot.strip(" \n$.")
    slot = (unlatex(slot) if re.search(r"\\[A-Za-z]", slot) else slot).strip()
    if slot.rstrip(". ").endswith("_") and not slot.startswith(("*", "`", "_")) and len(slot.split()) == 1:
        return slot.rstrip(". ")  # a name may end in an underscore
    slot = slot.strip(_WRAPPING)
    quoted = re.match(r"\"([^\"\n]+)\"|'([^'\n]+)'(?!\w)", slot)
    text = (quoted[1] or quoted[2]) if quoted else first_sentence(slot)
    return text.strip(_WRAPPING + "\"'").rstrip(".,;:!?。，、 ") or None
