"""Numbers in prose: "$1,000.50", "58 500", "-3", "2 2/3", "3e4", "twenty-one", and the results of written sums.

Values are exact (fractions). What only looks like a number (a date, a time, a range, a list, a sum
without a result) is not read as its first part. Nor are two counts, "18 apples and 4 pears": published scorers
disagree there (the zero-shot-CoT script, Kojima et al. 2022, takes the first number after "the answer is", 18; the
flexible-extract filter of lm-evaluation-harness for GSM8K the last, 4), so that either would be a guess.
"""

import re
import unicodedata
from fractions import Fraction

from cotdistill.answers.latex import unlatex
from cotdistill.answers.number_words import HANZI, MINUS, SCALES, hanzi_value, word_pattern, words_value

_LONGEST, _LONGEST_WORDS, _LARGEST_POWER = 400, 120, 400  # beyond, a text is noise, not a number
_SCALE_WORDS = {word: value for words in SCALES.values() for word, value in words.items()} | {
    "millions": 10**6, "billions": 10**9, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}  # fmt: skip
_SCALE = "|".join(sorted(set(_SCALE_WORDS) - {"cent", "cents", "bn"}, key=len, reverse=True))
_CURRENCY = r"(?:US|A|C|HK|NT|S)?[$€£¥₹₽₩]|(?:USD|EUR|GBP|INR|Rs\.?|CHF)(?=[\s\d])"
_NUMBER = re.compile(
    rf"""(?<![\w./^\\√])(?<!\d[,:'])(?<!\(\$)
        (?: (?P<word>\b(?:{MINUS})\s+|[负負]) | (?P<sign>(?<!\d\s)(?<!\)\s)-\s?|\+\s?) )?
        (?:{_CURRENCY})? \s? (?P<minus>-)?
        (?P<value>
            (?P<mixed>\d+)(?:\s+and\s+|\s+|-)(?P<num>\d+)\s?/\s?(?P<den>\d+)(?![\d/])
          | (?: (?P<whole> \d{{1,3}}(?:,\d{{3}})+(?!,?\d) | \d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!,?\d)
                 | \d{{1,3}}(?P<gap>[ '_])\d{{3}}(?:(?P=gap)\d{{3}})*(?![\d_])
                 | \d{{1,3}}(?P<dots>(?:\.\d{{3}}){{2,}}|(?:\.\d{{3}})+(?=,\d))(?!\.?\d)
                 | \d+(?:_\d+)+ | \d+ )
              (?P<decimals>\.\d+|(?<!,\d{{3}}),(?:\d{{1,2}}|\d{{4,}})(?![\d,]))? | (?P<point>\.\d+) )
            (?: [eE](?P<exponent>[-+]?\d+)(?!\w) | \s?(?:[×xX*·]|\bx\b)\s?10\s?(?:\^|\*\*)\s?\(?(?P<ten>[-+]?\d+)\)?
              | (?:\^|\*\*)\(?(?P<power>-?\d+)\)? )?
            (?: \s?/\s?\$?(?P<over>\d+(?:\.\d+)?)(?![\d/]) )?
        )
        (?P<odd> (?:[:/]\d|[.,]\d|\.\.\d|-\d+-\d)[\d.:/,-]* )?
        (?: (?P<kilo>k)\b | \s?(?P<scale>{_SCALE})\b | \s?(?P<han>[万萬亿億]) )?
        (?P<half>\s+and\s+(?:an?\s+|one[ -])?(?P<part>half|third|quarter)\b)?  (?:\s?%)?
        (?P<below>(?:\s?°\s?[CF]?|\s+degrees?(?:\s+(?:celsius|fahrenheit))?)?\s+below\s+zero)?""",
    re.VERBOSE | re.IGNORECASE,
)
_OPERATORS = (
    r"times|plus|minus|less|divided\s+by|multiplied\s+by|over|added\s+to|subtracted\s+from|percent\s+of|%\s+of|of"
)
_AFTER_COMMA = r",\s+(?:and\s+|then\s+)?(?:minus|plus|less|times|divided\s+by|multiplied\s+by)\s+[$\d]"
_OPERATION = re.compile(
    rf"[\d)%](?:\s*[-+*/×÷·^]\s*[\d($.]|\s*x\s*\d|\s[\w\s$]{{0,60}}?(?:[-+*/×÷·]\s|\b(?:{_OPERATORS})\b)"
    rf"|[\w\s$]{{0,60}}?{_AFTER_COMMA})|\b(?:sum|product|difference|total)\s+of\b",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"=|\b(?:equals|is\s+equal\s+to|which\s+is|which\s+gives|that\s+is|makes|gives|comes\s+to|is)\b|, or ",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\W{0,4}([^\W\d]\w{0,20}(?:\s+\w{1,20}){0,4}?)\s*(?:\([^()=]{0,20}\))?\s*=\s*")
_STATED = re.compile(
    rf"\s*(?:[^\W\d]+\s+){{0,2}}(?:$|(?!{_AFTER_COMMA})[,;(]|\b(?:because|since|as|where|when|if|so)\b)"
)
_COUNTED = r"(?:(?!(?:because|since|as|when|after|if|so|and|or)\b)[^\W\d]+\s+){1,3}"  # what a number counts
_JOINED = re.compile(rf"\d\s+(?:{_COUNTED})?(?:and|&)\s+[$-]?\Z", re.IGNORECASE)  # "18 apples and " before "4 pears"
_GOES_ON = re.compile(  # after a number: a sum, a range, a choice of numbers, a list
    rf"\s*(?:[π√∛∞^]|[-+*/×÷·±]\s*(?:[\d($√]|\.\d)|[xyz]\b|[x×]\s*\d|(?:{_OPERATORS}|to|or|through|up\s+to)\s+[$-]?\d"
    r"|(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than\s+[$-]?\d|or\s+(?:more|less|fewer|higher|lower)\b"
    rf"|(?:{_COUNTED})?(?:and|&)\s+[$-]?\d"
    r"|,\s*[$-]?\d[\d.]*\s*(?:$|[.;,)]|and\b|or\b))",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\W*(?:approximately|approx\.?|about|around|roughly|exactly|precisely|nearly|almost|equal\s+to|simply|just|only"
    r"|still|now|thus|therefore|then|also|definitely|actually|indeed|clearly|probably|likely|most\s+likely|a\s+total\s+of"
    r"|the\s+number|ungefähr|etwa|environ|aproximadamente|约|大约|≈|~|:)[\s:]+",
    re.IGNORECASE,
)
_NOT_EXACT = re.compile(
    r"\W*(?:(?:more|less|fewer|greater|larger|smaller|higher|lower|other)\s+than|at\s+(?:least|most)|between|not|never"
    r"|over|under|below|above|up\s+to|plus\s+or\s+minus|±|[<>≤≥≠]|neither|either|any|half\s+of"
    r"|(?:twice|thrice|double|triple|half)(?=\s+[$-]?\d))\b",
    re.IGNORECASE,
)
_WEIGHED = re.compile(
    r"\b(?:(?:more|less|fewer|greater|other)\s+than|at\s+(?:least|most)|not|isn't|(?:cannot|can't|couldn't)\s+be|between\s+\S+\s+and|\d\s+(?:or|to))\s+[$€£]?\Z|[<>≤≥≠±]\s*\Z",
    re.IGNORECASE,
)
_ASKED = re.compile(r"[^.!\n]{0,60}\?")
_SUPERSCRIPT = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")
_PRONOUN = re.compile(
    r"\b(?:no|any|some|every|each|this|that|the|which|another|not)\s+one\b"
    r"|\bone\s+(?:of|that|who|which|more|another|can|could|must|would|should|might|day|hand|way)\b",
    re.IGNORECASE,
)
_OTHER_WORDS = re.compile(r"[^\W\d_]{2,}")


def is_number(text: str) -> bool:
    """Whether the whole of `text` is one number in digits, sign, currency and percent sign included."""
    match = _NUMBER.fullmatch(_digits(text.strip()).strip())
    return match is not None and _value(match) is not None


def whole_number(text: str) -> str | None:
    """The number that is all of `text`, in digits or words; None for anything else."""
    if len(text) > _LONGEST:
        return None
    line = _digits(text.strip()).strip(" \n.!")
    match = _NUMBER.fullmatch(line)
    if match:
        return _plain(match)
    spelled_out = word_pattern("en").fullmatch(line)
    return _written(words_value(spelled_out, "en")) if spelled_out and len(spelled_out[0]) <= _LONGEST_WORDS else None


def numbers(text: str) -> list[str]:
    """Every number of `text` in order, each in plain notation; units are dropped (20% is "20")."""
    return [plain for match in _NUMBER.finditer(_digits(text)) if (plain := _plain(match)) is not None]


def first_number(text: str, language: str = "en") -> str | None:
    """The number `text` states: its first, or the result of a sum it begins with ("5 + 2 = 7" is "7").

    None for what is more or less than one number: "3 or 4", "3-5", "at least 3", "3 * 4".
    """
    text = _worked_out(_digits(text, language))
    while hedge := _HEDGE.match(text):
        text = text[hedge.end() :]
    corrected = re.match(r"\W*not\s+\S+?,?\s+but\s+(?:rather\s+)?(?=\S)", text, re.IGNORECASE)
    text = text[corrected.end() :] if corrected else text
    if _NOT_EXACT.match(text):
        return None
    match = _NUMBER.search(text)
    words = _first_words(text, language, match.start() if match else len(text))
    if words is not None:
        return words
    if match is None or _GOES_ON.match(text, match.end()):
        return None
    return _plain(match)


def last_number(text: str, language: str = "en") -> str | None:
    """The last number of `text`, in digits, else in words."""
    digits = numbers(text)
    if digits:
        return digits[-1]
    words = _words(text, language)
    return words[-1] if words else None


def last_stated(text: str) -> str | None:
    """The last number of `text`, unless the words around it make it less than a statement: "at least 3",
    "not 3", "3 or 4", "3π", "is it 3?"."""
    text = _digits(text)
    matches = list(_NUMBER.finditer(text))
    if not matches:
        return last_number(text)
    last = matches[-1]
    if _GOES_ON.match(text, last.end()) or _ASKED.match(text, last.end()) or _WEIGHED.search(text, 0, last.start()):
        return None
    if _JOINED.search(text, 0, last.start()):
        return None
    return _plain(last)


def same_number(a: str, b: str) -> bool:
    """Whether both texts state the same number, exactly: "0.75" and "3/4", "1,000" and "1000.0"."""
    x, y = first_number(a), first_number(b)
    return x is not None and y is not None and Fraction(x) == Fraction(y)


# ------------------------------------------------------------------------------------------------ writings


def _digits(text: str, language: str = "en") -> str:
    """`text` with LaTeX, superscripts and vulgar fractions in plain characters."""
    text = unlatex(text)
    if not text.isascii():
        text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]), text).replace("⁄", "/")
        text = _SUPERSCRIPT.sub(_raised, text)
        text = re.sub(r"(?<![\w)]\s)(?<![\w)])[–—‐‑‒](?=[\d$€£.])", "-", text)
        text = re.sub(r"百分之(?=[\d一-龥])", "", text).translate({0x2009: " ", 0x202F: " ", 0xA0: " ", 0x2212: "-"})
    if "**" in text:  # bold, unless it raises to a power
        text = re.sub(r"\*\*(?!\d)|(?<!\d)\*\*", "", text)
    if language != "en":  # 1.250 is a thousand and more there
        text = re.sub(r"(?<![\d.,])(\d{1,3})\.(\d{3})(?!\d|\.\d)", r"\1\2", text)
    return text


def _raised(match: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", match[0]).replace("−", "-")


def _plain(match: re.Match[str]) -> str | None:
    """ "1000", "3.5", "-2", "3/4": no commas, currency or idle zeros; None where it is not a number."""
    value = _value(match)
    return None if value is None else _written(value, fraction=bool(match["over"] or match["mixed"]))


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a match of `_NUMBER`; None for a date, a list, a division by zero."""
    if match["odd"] or len(match[0]) > _LONGEST:
        return None
    negative = match["word"] or match["minus"] or "-" in (match["sign"] or "") or match["below"]
    if match["mixed"]:
        over, under = int(match["num"]), int(match["den"])
        if not under or over >= under:
            return None
        return (-1 if negative else 1) * (int(match["mixed"]) + Fraction(over, under))
    whole = re.sub(r"\D", "", match["whole"] or "0")
    decimals = (match["decimals"] or match["point"] or "")[1:]
    value = Fraction(int(whole + decimals), 10 ** len(decimals)) if decimals else Fraction(int(whole))
    if not any(match.group("exponent", "ten", "power", "over", "kilo", "scale", "han", "part")):
        return -value if negative else value  # nearly all are plain
    exponent = match["exponent"] or match["ten"]
    if abs(int(exponent or 0)) > _LARGEST_POWER or abs(int(match["power"] or 0)) * len(whole) > _LARGEST_POWER:
        return None
    if match["power"] and (value or int(match["power"]) >= 0):
        value = Fraction(value) ** int(match["power"]) if value else value
    value *= Fraction(Fraction(10) ** int(exponent or 0))
    if match["over"]:
        divisor = Fraction(match["over"])
        if not divisor:
            return None
        value /= divisor
    value *= 1000 if match["kilo"] else _SCALE_WORDS.get((match["scale"] or match["han"] or "").lower(), 1)
    if match["part"]:
        value += Fraction(1, {"half": 2, "third": 3, "quarter": 4}[match["part"].lower()])
    return -value if negative else value


def _written(value: Fraction, fraction: bool = False) -> str:
    """A whole number or a decimal fraction as such, anything else as "a/b"."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if value.denominator == 1 or fraction or rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


# ---------------------------------------------------------------------------------------------------- sums


def _worked_out(text: str) -> str:
    """What follows a sum that `text` begins with, or a name: "x = 12", "3 + 4 = 7", "3 plus 4 is 7"."""
    if (named := _NAMED.match(text)) and not _NUMBER.search(text, 0, named.end(1)):
        text = text[named.end() :]
    stated = _NUMBER.search(text)
    if stated is None or _STATED.match(text, stated.end()):
        return text
    begin = 0
    for sign in _RESULT.finditer(text):
        if not _OPERATION.search(text, begin, sign.start()):
            break
        if _NUMBER.match(text, sign.end()) or re.match(r"\s*\W*\d", text[sign.end() : sign.end() + 20]):
            begin = sign.end()
    return text[begin:]


# --------------------------------------------------------------------------------------------------- words


def _first_words(text: str, language: str, before: int) -> str | None:
    """The number in words that begins `text`, or precedes any in digits."""
    if not re.search(r"[^\W\d]", text[:40]):
        return None
    if hanzi := HANZI.match(text.lstrip(" :,.")):
        return _written(hanzi_value(hanzi[0])) if "百分之" not in hanzi[0] else None
    begin = re.match(r"\W*", text)
    at = begin.end() if begin else 0
    match = word_pattern(language).match(text, at)
    if match is None or match.start() > before or len(match[0]) > _LONGEST_WORDS or _PRONOUN.match(text, at):
        return None
    if _GOES_ON.match(text, match.end()):
        return None
    if re.match(rf"\s*(?:[-+*/×÷·]|(?:{_OPERATORS}|or|to)\b)", text[match.end() :], re.IGNORECASE):
        return None
    return _written(words_value(match, language))


def _words(text: str, language: str) -> list[str]:
    """Every number in words; "one" only where it counts something."""
    text = _PRONOUN.sub(" ", text)
    return [
        _written(words_value(match, language))
        for match in word_pattern(language).finditer(text)
        if len(match[0]) <= _LONGEST_WORDS
    ]
