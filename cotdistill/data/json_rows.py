"""JSON lines, or one JSON array, as (line, value); every error names file, line, what is wrong and the remedy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cotdistill.data.cells import WrittenFloat
from cotdistill.data.inputs import check_utf8, opened, shown, text_stream
from cotdistill.errors import DataError

BLANKS = " \t\r\n"
ONE_OBJECT = "write one JSON object per line"
DECODER = json.JSONDecoder(parse_float=WrittenFloat)
Quick = Callable[[str], Any]
Attempt = tuple[int, Any]  # (line, value), or the `DataError` of a malformed line


def json_lines(source: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for every non-blank line; malformed lines raise `DataError`."""
    for number, value in json_values(source):
        yield number, mapping(value, shown(source), number)


def json_values(source: str | Path) -> Iterator[tuple[int, Any]]:
    """(line number, value) of JSON lines or of the elements of one JSON array."""
    for number, value in json_attempts(source):
        if isinstance(value, DataError):
            raise value
        yield number, value


def json_attempts(source: str | Path, quick: Quick | None = None) -> Iterator[Attempt]:
    """(line number, value), or the `DataError` of a malformed line; `quick` as in `attempts`."""
    with opened(source) as stream:
        yield from attempts(stream, shown(source), quick)


def mapping(value: Any, name: str, number: int) -> dict[str, Any]:
    """The value, which must be a JSON object."""
    if not isinstance(value, dict):
        raise DataError.at(name, number, f"a JSON {type(value).__name__}, not an object", ONE_OBJECT)
    return value


def attempts(stream: io.BufferedReader, name: str, quick: Quick | None = None) -> Iterator[Attempt]:
    """(line, value) or (line, the `DataError` of that line); errors that end a whole array are raised.

    `quick` makes something of a line before it is decoded; where it gives None the line is decoded as ever.
    """
    text = text_stream(stream, name)
    try:
        if text_begins(stream) == "[":
            yield from _array(text.read(), name)
            return
        for number, line in enumerate(text, start=1):
            if line.strip() == "{":  # objects written over several lines, as jq does
                yield from _spread(line + text.read(), name, number)
                return
            if quick is not None and (made := quick(line)) is not None:
                yield number, made
            elif line.strip():
                try:
                    check_utf8(line, name, number)
                    yield number, _value(line, name, number)
                except DataError as error:
                    yield number, error
    finally:
        text.detach()


def text_begins(stream: io.BufferedReader) -> str:
    """The first character of a stream that is not blank."""
    return stream.peek().removeprefix(b"\xef\xbb\xbf").lstrip()[:1].decode("latin-1")


def _value(line: str, name: str, number: int) -> Any:
    try:
        value = DECODER.decode(line)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise DataError.at(name, number, _why(error), ONE_OBJECT) from None


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"malformed JSON: {error.msg} at column {error.colno}"
    if isinstance(error, UnicodeEncodeError):
        return "half of a surrogate pair (an emoji cut in two)"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number of thousands of digits"


def _array(text: str, name: str) -> Iterator[Attempt]:
    """The elements of a JSON array with the line on which each begins."""
    for number, line in enumerate(io.StringIO(text), start=1):
        check_utf8(line, name, number)
    at, line_number, counted = text.index("[") + 1, 1, 0
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            if text[at + 1 :].strip():
                raise DataError.at(
                    name, line_number, "unexpected text after the array", "give one JSON array, or one object per line"
                )
            return
        line_number, counted = line_number + text.count("\n", counted, at), at
        try:
            value, end = DECODER.raw_decode(text, at)
            if "\\u" in text[at:end]:
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            line_number = getattr(error, "lineno", line_number)
            raise DataError.at(name, line_number, _why(error), "give a JSON array, or one object per line") from None
        yield line_number, value
        at = _skip(text, end)
        if text[at : at + 1] not in (",", "]") or at >= len(text):
            raise DataError.at(name, line_number, "the array is incomplete after this element", "give complete JSON")
        at += text[at] == ","


def _spread(text: str, name: str, number: int) -> Iterator[Attempt]:
    """Concatenated objects, each over several lines, with the line on which each begins."""
    at, counted = 0, 0
    while (at := _skip(text, at)) < len(text):
        number, counted = number + text.count("\n", counted, at), at
        end = _end(text, at)
        check_utf8(text[at:end], name, number)
        yield number, _value(text[at:end], name, number)
        at = end


def _end(text: str, at: int) -> int:
    """Where the object that begins at `at` ends; the end of the text where it is malformed."""
    try:
        return DECODER.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return len(text)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return at
