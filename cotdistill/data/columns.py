"""Rows of other tables as question rows: which column is what, and how an answer is written in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError

from cotdistill.data.records import Example
from cotdistill.errors import DataError, UsageError, did_you_mean

SEPARATOR = "|"  # between choices in one cell of a CSV file
POLES = (["yes", "no"], ["Yes", "No"], ["true", "false"], ["True", "False"])


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold a row's parts; "choices.text" is the field of a column.

    `answer` may hold a choice's text, its label (from `labels`, else A, B, ...), its index, or true and
    false. `question` may name several columns, joined by "+".
    """

    question: str
    answer: str
    choices: str | None = None
    labels: str | None = None
    id: str | None = None
    rationale: str | None = None

    @classmethod
    def parse(cls, text: str) -> Columns:
        """`question=stem,choices=options,answer=key` as given to --map."""
        known = [field.name for field in fields(cls)]
        given: dict[str, str] = {}
        for part in text.split(","):
            name, equals, column = part.strip().partition("=")
            if not equals or not column:
                raise UsageError(f"--map takes NAME=COLUMN,..., not {part!r}; the names are "
                                 f"{', '.join(known)}")
            if name not in known:
                raise UsageError(f"--map: no part of a row is called {name!r}{did_you_mean(name, known)}; "
                                 f"the names are {', '.join(known)}")
            given[name] = column
        if missing := [name for name in ("question", "answer") if name not in given]:
            raise UsageError(f"--map needs a column for {' and '.join(missing)}")
        return cls(**given)


OWN = Columns("question", "answer", "choices", None, "id", "rationale")


def example_of(row: Mapping[str, Any], columns: Columns, task: str, split: str | None, source: str,
               number: int) -> Example:
    """A row as a question row. Raises `DataError` naming `source:number` for what cannot be read."""
    try:
        question = " ".join(str(_cell(row, name)).strip() for name in columns.question.split("+"))
        choices = _choices(_cell(row, columns.choices)) if columns.choices else None
        labels = _list(_cell(row, columns.labels)) if columns.labels else []
        answer, choices = _answer(_cell(row, columns.answer), choices, labels)
        return Example(
            id=str(_cell(row, columns.id)) if columns.id else f"{task}-{split or 'rows'}-{number:05d}",
            question=question, choices=tuple(choices) if choices else None, answer=answer, task=task,
            split=split,
            rationale=_rationale(_cell(row, columns.rationale)) if columns.rationale else None)
    except (ValueError, ValidationError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise DataError.at(source, number, what.removeprefix("Value error, "),
                           "correct the row, or name its columns with --map") from None


def _cell(row: Mapping[str, Any], name: str) -> Any:
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            columns = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"there is no column {name!r} (there are {columns})")
        value = value[part]
    return value


def _choices(value: Any) -> list[str] | None:
    """A list, or a cell of text with a JSON list or `one|two|three`; empty: a free answer."""
    if value is None or (isinstance(value, float) and value != value) or value in ("", "null", []):
        return None
    return [str(choice).strip() for choice in _list(value)]


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return value.split(SEPARATOR)
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"the cell {value[:60]!r} is no JSON list") from None
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected a list of choices, not {value!r}")
    return list(value)


def _answer(value: Any, choices: list[str] | None, labels: list[Any]) -> tuple[str, list[str] | None]:
    """The answer's text, and the choices (yes/no and true/false where the answer is one of them)."""
    if isinstance(value, bool):
        return ("yes" if value else "no"), choices or ["yes", "no"]
    if isinstance(value, int) and choices is not None:
        if not 0 <= value < len(choices):
            raise ValueError(f"the answer's index {value} points at none of {len(choices)} choices")
        return choices[value], choices
    text = str(value).strip()
    if choices is None:
        return text, next((pair for pair in POLES if text in pair), None)
    if text in map(str, labels):
        return choices[list(map(str, labels)).index(text)], choices
    letter = text.strip("().").upper()
    if text not in choices and len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
        return choices[ord(letter) - ord("A")], choices
    return text, choices


def _rationale(value: Any) -> str | None:
    """Text, or sentences joined."""
    if isinstance(value, (list, tuple)):
        return " ".join(str(part).strip() for part in value) or None
    return None if value is None or value != value or not str(value).strip() else str(value)
