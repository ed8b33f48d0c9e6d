"""Numbers in prose: "$1,000.50", "20%", "-3", "3/4", and what a written-out sum comes to."""

import re
from decimal import Decimal
from fractions import Fraction

_NUMBER = re.compile(
    r"""(?<![\w./])(?<!\d,)  [-+]? [$€£]? \s? -?
        (?P<value> (?: \d{1,3}(?:,\d{3})+ | \d+ ) (?:\.\d+)? | \.\d+ )
        (?: \s?/\s? (?P<over>\d+) (?![\d/]) )?  \s?%?""",
    re.VERBOSE,
)
_SUM = re.compile(  # "5 + 2 =", "5 apples + 2 apples =": what follows is the number that is meant
    r"""[^=;\n]*? \d (?: \s*[-+*/x×÷·]\s*[\d($.] | \s[\w\s]*[-+*/×÷]\s ) [^=;\n]* = \s* (?=[-+$€£.\d])""",
    re.VERBOSE,
)


def is_number(text: str) -> bool:
    """Whether the whole of `text` is one number, sign, currency and percent sign included."""
    return _NUMBER.fullmatch(text.strip()) is not None


def numbers(text: str) -> list[str]:
    """Every number of `text` in order, each in its plain writing; units are dropped (20% is "20")."""
    return [plain for match in _NUMBER.finditer(text) if (plain := _plain(match)) is not None]


def first_number(text: str) -> str | None:
    """The number `text` states: its first, or the result of a sum it begins with ("5 + 2 = 7" is "7")."""
    while "=" in text and (match := _SUM.match(text)):
        text = text[match.end() :]
    return next(iter(numbers(text)), None)


def last_number(text: str) -> str | None:
    """The last number of `text`."""
    return next(reversed(numbers(text)), None)


def same_number(a: str, b: str) -> bool:
    """Whether both texts state the same number, exactly: "0.75" and "3/4", "1,000" and "1000.0"."""
    x, y = first_number(a), first_number(b)
    return x is not None and y is not None and Fraction(x) == Fraction(y)


def _plain(match: re.Match[str]) -> str | None:
    """ "1000", "3.5", "-2", "3/4": no commas, currency or idle zeros; None where it divides by zero."""
    sign = "-" if "-" in match[0][: match.start("value") - match.start()] else ""
    digits = format(Decimal(match["value"].replace(",", "")), "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    if match["over"]:
        over = int(match["over"])
        return sign + str(Fraction(digits) / over) if over else None
    return digits if digits == "0" else sign + digits
