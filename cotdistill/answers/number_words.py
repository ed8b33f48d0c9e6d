"""Numbers in words, in the languages of answers: tables, and one parser for them."""

import re
from fractions import Fraction
from functools import cache

SCALES = {  # also after digits: "1.5 million"
    "en": {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "lakh": 10**5, "crore": 10**7, "bn": 10**9},
    "fr": {"cent": 100, "cents": 100, "mille": 1000, "million": 10**6, "milliard": 10**9},
    "de": {"hundert": 100, "tausend": 1000, "million": 10**6, "millionen": 10**6, "milliarden": 10**9},
    "es": {"cien": 100, "ciento": 100, "mil": 1000, "millón": 10**6, "millones": 10**6},
}  # fmt: skip
FRACTIONS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
             "eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100}  # fmt: skip
MINUS = r"minus|negative|moins|menos|meno"

_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
          "seventeen eighteen nineteen",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
          "dix-huit dix-neuf",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
          "siebzehn achtzehn neunzehn",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
          "diecisiete dieciocho diecinueve",
}  # fmt: skip
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "fr": "vingt trente quarante cinquante soixante soixante-dix quatre-vingts quatre-vingt-dix",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}
_OTHER_FORMS = {
    "en": {"fourty": 40},
    "fr": {"une": 1, "quatre-vingt": 80},
    "de": {"ein": 1, "eine": 1, "dreissig": 30, "fuenf": 5, "zwoelf": 12},
    "es": {"un": 1, "una": 1, "veintidós": 22, "veintitrés": 23, "veintiséis": 26, "veintiún": 21},
}
_JOINED = {  # how a ten and a unit are joined
    "en": ("{tens}-{unit}", "{tens} {unit}", "{tens}{unit}"),
    "fr": ("{tens}-{unit}", "{tens}-et-{unit}", "{tens} et {unit}"),
    "de": ("{unit}und{tens}",),
    "es": ("{tens} y {unit}", "veinti{unit}"),
}
_HANZI = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HANZI_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
HANZI = re.compile(rf"[负負]?[{''.join([*_HANZI, *_HANZI_SCALES])}]+(?:点[{''.join(_HANZI)}]+)?")


@cache
def small_numbers(language: str) -> dict[str, int]:
    """The words for 0 to 99."""
    units = _UNITS[language].split()
    words = {word: value for value, word in enumerate(units)} | _OTHER_FORMS[language]
    for ten, tens in enumerate(_TENS[language].split(), start=2):
        words[tens] = 10 * ten
        # French counts on from 60 and from 80: soixante-dix-sept is soixante + dix-sept.
        counts_on = language == "fr" and ten in (7, 9)
        first, stem = (10, tens.removesuffix("-dix")) if counts_on else (0, tens.removesuffix("s"))
        for unit in range(1, 10):
            unit_word = units[first + unit].removesuffix("s" if language == "de" and unit == 1 else "-")
            for form in _JOINED[language]:
                if not form.startswith("veinti") or ten == 2:
                    words[form.format(tens=stem, unit=unit_word)] = 10 * ten + unit
    return words


@cache
def word_pattern(language: str) -> re.Pattern[str]:
    """A number in words: "twenty-one", "minus three", "two and a half", "three quarters", "a dozen"."""
    words = "|".join(sorted({*small_numbers(language), *SCALES[language]}, key=len, reverse=True))
    words = words.replace(" ", "[ ]")  # a verbose pattern ignores blanks
    scales, part, digits = "|".join(SCALES[language]), "|".join(FRACTIONS), _UNITS["en"].replace(" ", "|")
    return re.compile(
        rf"""(?<![\w.-]) (?P<minus>(?:{MINUS})\s+)?
             (?: (?P<half_dozen>half\s+a\s+dozen)
               | (?P<count> (?:an?[ -]+(?=(?:{scales})\b))? (?:{words})
                    (?:(?:[ -]+|,[ ]|(?:(?<=hundred)|(?<=thousand)|(?<=million))[ -]+and[ -]+)(?:{words}))* )
                 (?: [ -]+point(?P<decimals>(?:[ ]+(?:{digits}))+)
                   | [ -]+and[ -]+(?:(?P<more>an?|one|two|three)[ -]+)?(?P<plus>{part})s?
                   | [ -]+(?P<of>{part})s? )?
               | (?P<alone>(?:an?[ ]+)?(?:half|quarter|third))
             )(?![\w-]|[ ]+of\b)""",
        re.VERBOSE | re.IGNORECASE,
    )


def words_value(match: re.Match[str], language: str) -> Fraction:
    """The value of a match of `word_pattern`."""
    sign = -1 if match["minus"] else 1
    small = small_numbers(language)
    if match["half_dozen"]:
        return Fraction(6 * sign)
    if match["alone"]:
        return Fraction(sign, FRACTIONS[match["alone"].split()[-1].lower()])
    value = Fraction(_count(match["count"].lower(), language))
    if match["decimals"]:
        digits = "".join(str(small[word]) for word in match["decimals"].lower().split())
        value += Fraction(int(digits), 10 ** len(digits))
    if match["of"]:
        value /= FRACTIONS[match["of"].lower()]
    if match["plus"]:
        value += Fraction(small.get((match["more"] or "one").lower(), 1), FRACTIONS[match["plus"].lower()])
    return sign * value


def _count(words: str, language: str) -> int:
    """The value of whole words: "two hundred and five", "a dozen", "twenty-one"."""
    small, scales = small_numbers(language), SCALES[language]
    total = group = 0
    known = "|".join(sorted({*small, *scales}, key=len, reverse=True))
    for word in re.findall(known, words):
        if word in small:
            group += small[word]
        elif scales[word] in (12, 100):
            group = max(group, 1) * scales[word]
        else:
            total, group = total + max(group, 1) * scales[word], 0
    return total + group


def hanzi_value(text: str) -> Fraction:
    """The value of a Chinese numeral, "负二百零五" or "三点五", as `HANZI` matches them."""
    sign = -1 if text[0] in "负負" else 1
    whole, _, decimals = text.lstrip("负負").partition("点")
    total = group = digit = 0
    if not any(mark in _HANZI_SCALES for mark in whole):
        total = int("".join(str(_HANZI[mark]) for mark in whole) or "0")
    else:
        for mark in whole:
            if mark in _HANZI:
                digit = _HANZI[mark]
            elif (scale := _HANZI_SCALES[mark]) < 10**4:
                group, digit = group + (digit or 1) * scale, 0
            else:
                total, group, digit = total + (group + digit) * scale, 0, 0
        total += group + digit
    places = "".join(str(_HANZI[mark]) for mark in decimals)
    return sign * (total + (Fraction(int(places), 10 ** len(places)) if places else Fraction(0)))
