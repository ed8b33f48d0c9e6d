"""Text normalised: one width, one kind of quote, one Unicode form; sentences; the forms in which texts are compared."""

import re
import unicodedata
from functools import lru_cache

# Character for character, so that offsets into the plain text are offsets into the original.
_PLAIN = (
    {0xFF01 + i: 0x21 + i for i in range(94)}
    | dict.fromkeys((0x3000, 0xA0, 0x2007, 0x2009, 0x202F, 0x200B, 0xFEFF, 0x2028, 0x2029, 0x85), " ")
    | str.maketrans("−‘’‛“”„«»【】", '-\'\'\'"""""[]')
)
# Not after one or two letters: "J. K. Rowling", "St. Louis".
_ENDS = r"\n|(?<!\b[A-Za-z])(?<!\b[A-Za-z]{2})[.!?][\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9])"
_SENTENCE_END, _SENTENCE_END_WIDE = re.compile(_ENDS), re.compile(rf"{_ENDS}|[。！？!?]\s*(?=[\u3040-\u9fff])|。")
_JAMO = re.compile("[\u1160-\u11ff]")  # vowels and final consonants that compose with the letter before


def plain(text: str) -> str:
    """`text` with full-width and typographic characters made ASCII, one for one."""
    return text if text.isascii() else text.translate(_PLAIN)


def composed(text: str) -> str:
    """`text` in Unicode's composed form (NFC): "é" is one character however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def composed_with_offsets(text: str) -> tuple[str, list[int] | None]:
    """`composed(text)` and where each of its characters, and its end, was in `text` (None: unchanged)."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text, None
    parts: list[str] = []
    offsets: list[int] = []
    begin = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and (unicodedata.combining(text[end]) or _JAMO.match(text, end)):
            continue
        part = unicodedata.normalize("NFC", text[begin:end])
        parts.append(part)
        offsets += [begin] * len(part)
        begin = end
    return "".join(parts), [*offsets, len(text)]


@lru_cache(maxsize=1 << 14)
def cased(text: str) -> str:
    """`text` without full-width forms, doubled blanks, quotes around it and punctuation after it."""
    line = " ".join(plain(composed(text)).split())
    bare = line.lstrip("\"'`*_ ").rstrip("\"'`*_ .,;:!?…。、")  # no "." on the left: ".5" is a number
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
    end = (_SENTENCE_END if text.isascii() else _SENTENCE_END_WIDE).search(text)
    return text[: end.end()].strip() if end else text


def last_sentence(text: str) -> str:
    """The last sentence of `text`."""
    text = text.strip()
    begin = 0
    for end in (_SENTENCE_END if text.isascii() else _SENTENCE_END_WIDE).finditer(text):
        begin = end.end() if end.end() < len(text) else begin
    return text[begin:]
