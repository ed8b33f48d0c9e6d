"""Cells of rows as text, exactly as written, and the paths that name them: `messages.1.content`."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Mapping
from typing import Any

DEEPEST = 40  # levels of lists and mappings in a row


class WrittenFloat(float):
    """A JSON number that keeps its spelling: 0.50 is not "0.5"."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        """From the number's text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def text_of_cell(value: Any) -> str | None:
    """A cell's text, stripped; None where it is empty. Raises `ValueError` for anything that is not text."""
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, float):  # in a column of doubles 18 has lost that it was written without a point
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, (decimal.Decimal, datetime.date, datetime.time)):
        return str(value)
    kind = "mapping" if isinstance(value, Mapping) else "list" if isinstance(value, (list, tuple)) else "value"
    raise ValueError(f"is a {kind}, not text")


def cell(row: Mapping[str, Any], name: str, path: tuple[str, ...]) -> Any:
    """The value at a path in a row: keys of mappings, places in lists, also inside a cell that holds JSON.

    A column whose name is the whole path (`a.b`) comes first. Raises
    `ValueError` where there is no such column.
    """
    if name in row:
        return row[name]
    value: Any = row
    for depth, part in enumerate(path):
        if depth and isinstance(value, str):
            value = _json(value)
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, (list, tuple)) and part.lstrip("-").isdecimal():
            if not -len(value) <= int(part) < len(value):
                raise ValueError(f"{name!r}: the list has {len(value)} entries, none at {part}")
            value = value[int(part)]
        else:
            raise ValueError(f"no column {name!r} ({_inside(value)})")
    return value


def strict_json(value: Any, depth: int = 0) -> Any:
    """A value as strict JSON can hold it. Raises `ValueError` where it is nested too deeply."""
    if depth > DEEPEST:
        raise ValueError(f"is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        return {str(key): strict_json(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        finite = value == value and abs(value) != float("inf")
        return float(value) if finite else str(float(value))
    return str(value)


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python's guard against numbers of thousands of digits
        raise ValueError("is a number with thousands of digits") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("[", "{") else text
    except (ValueError, RecursionError):
        return text


def _inside(value: Any) -> str:
    if isinstance(value, Mapping):
        return "there are " + ", ".join(map(str, list(value)[:20]))
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}: name a place in it, from 0"
    return f"a {type(value).__name__} has none"
