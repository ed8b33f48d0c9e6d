"""The choices of foreign rows and which of them an answer names: by text, label, "B. text" or index.

| choices written as | labels |
|---|---|
| a list, or a cell `one|two|three`, or a cell with a JSON list | A, B, ... unless a column names them |
| {"A": "one", "B": "two"}, or columns A+B | the keys, the columns' names |
| [{"label": "A", "text": "one"}, ...], {"label": [...], "text": [...]} | as given |
| ["A. one", "B. two"] | split off where the answer is not one of these texts |
"""

from __future__ import annotations

import json
import re
import unicodedata
from ast import literal_eval
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cotdistill.console import warn_once
from cotdistill.data.cells import text_of_cell

SEPARATOR = "|"  # between choices in one cell of a table
EMPTY = ("", "null", "None", "[]", "{}")
POLES = (("yes", "no"), ("Yes", "No"), ("true", "false"), ("True", "False"))
TRUTH = {True: ("yes", "true"), False: ("no", "false")}
_LABELLED = re.compile(r"\(?(?P<label>[A-Za-z]|\d{1,2})(?:\)\s*|[.:]\s+)(?P<text>\S.*)", re.DOTALL)
_INDEX = re.compile(r"\d{1,4}(\.0+)?")
_LETTER = re.compile(r"(?:option |choice |answer )?[(\[]?(?P<letter>[a-z])[)\].:]{0,2}", re.IGNORECASE)


@dataclass(frozen=True)
class Choices:
    """The texts offered, and the file's own labels (empty: letters by position)."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """An answer that is a position among its choices; only all rows together tell whether a file counts from 0 or 1."""

    number: int
    of: int


Answer = str | Index


def read_choices(value: Any, labels: Any = None) -> Choices | None:
    """The choices a cell holds, None where it is empty. Raises `ValueError` for anything but a list of them."""
    if value is None or value != value or (isinstance(value, str) and value.strip() in EMPTY) or value in ([], {}):
        return None
    named = [_text(label, "label") for label in _listed(labels)] if labels is not None else []
    value = _decoded(value)
    if isinstance(value, Mapping):
        keys = {str(key).lower().rstrip("s"): key for key in value}
        if isinstance(value.get(keys.get("text")), (list, tuple)):
            return read_choices(value[keys["text"]], value.get(keys.get("label")))
        named, value = [str(key).strip() for key in value], list(value.values())
    listed = _listed(value)
    if not listed:
        return None
    if all(isinstance(entry, Mapping) for entry in listed):
        named = [_text(entry.get("label"), "label") for entry in listed] if "label" in listed[0] else named
        listed = [entry.get("text") for entry in listed]
    texts = tuple(_text(entry, "choice") for entry in listed)
    if named and len(named) != len(texts):
        raise ValueError(f"{len(named)} labels for {len(texts)} choices")
    return Choices(texts, tuple(named))


def answer_of(value: Any, choices: Choices, is_index: bool = False) -> tuple[Answer, Choices]:
    """The answer that a cell names among `choices`, and the choices, without labels in their texts.

    A text is matched verbatim before it is read as a label or an index; only labels that the file itself
    gives come first, and an index that is said to be one (`is_index`). An answer that is none of the choices is
    returned as it is.
    """
    if isinstance(value, bool):
        return _pole(value, choices), choices
    text = text_of_cell(value) or ""
    labels, texts = choices.labels, choices.texts
    if labels and text in labels:
        labelled = texts[labels.index(text)]
        if text in texts and text != labelled:
            warn_once(f"the answer {text!r} is a label and a choice's text: the label counts")
        return labelled, choices
    if is_index and _INDEX.fullmatch(text):
        return Index(int(float(text)), len(texts)), choices
    if (same := _same_text(text, texts)) is not None:
        if _place(text, len(texts)) not in (None, texts.index(same)) and not labels:
            warn_once(
                f"the answer {text!r} is a choice's text and could be an index: the text counts (--map "
                "...,first=0 reads indices)"
            )
        return same, choices
    if not labels and (split := _split_labels(texts)) is not None:
        answer, _ = answer_of(value, split)
        if isinstance(answer, str) and answer in split.texts:
            return answer, split
    if (named := _LETTER.fullmatch(text)) and (at := ord(named["letter"].lower()) - ord("a")) < len(texts):
        return texts[at], choices
    if written := _LABELLED.fullmatch(text):  # "B. blue"
        place = _at_label(written["label"], choices)
        if place is not None and _same_text(written["text"], (texts[place],)) is not None:
            return texts[place], choices
    if _INDEX.fullmatch(text):
        return Index(int(float(text)), len(texts)), choices
    return text, choices


def poles(answer: str) -> tuple[str, ...] | None:
    """yes/no and true/false for an answer that is one of them."""
    return next((pair for pair in POLES if answer in pair), None)


def base_of(indices: Sequence[Index], given: int | None) -> int:
    """The index of the first choice in a file: 0, or 1 where some row's index requires it and none is 0."""
    if given is not None or not indices:
        return given or 0
    if any(index.number == 0 for index in indices):
        return 0
    if any(index.number == index.of for index in indices):
        return 1
    warn_once("no answer is 0 or the number of choices: indices are taken to begin with 0 (--map ...,first=1 says 1)")
    return 0


def at_index(index: Index, base: int, texts: Sequence[str]) -> str:
    """The choice an index points at. Raises `ValueError` where it points at none."""
    place = index.number - base
    if not 0 <= place < len(texts):
        raise ValueError(
            f"the answer's index {index.number} is out of range for {len(texts)} choices (indices start at {base})"
        )
    return texts[place]


def _pole(value: bool, choices: Choices) -> str:
    pole = next((text for text in choices.texts if text.strip().casefold() in TRUTH[value]), None)
    return pole if pole is not None else TRUTH[value][0]


def _same_text(text: str, texts: Sequence[str]) -> str | None:
    """The choice that is this text: exactly, else in Unicode's composed form with single blanks."""
    if text in texts:
        return text
    wanted = _composed(text)
    return next((candidate for candidate in texts if _composed(candidate) == wanted), None)


def _composed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _place(text: str, count: int) -> int | None:
    """The place a text would name as an index from 0."""
    return int(text) if re.fullmatch(r"\d{1,4}", text) and int(text) < count else None


def _at_label(label: str, choices: Choices) -> int | None:
    if choices.labels:
        return choices.labels.index(label) if label in choices.labels else None
    at = int(label) - 1 if label.isdigit() else ord(label.lower()) - ord("a")
    return at if 0 <= at < len(choices.texts) else None


def _split_labels(texts: Sequence[str]) -> Choices | None:
    """["A. one", "B. two"] as choices with labels, where all are labelled in order."""
    matches = [_LABELLED.fullmatch(text) for text in texts]
    if len(texts) < 2 or not all(matches):
        return None
    labels = [match["label"] for match in matches if match]
    orders = [[str(at + first) for at in range(len(texts))] for first in (0, 1)]
    orders += [[chr(ord(first) + at) for at in range(len(texts))] for first in ("A", "a")]
    if labels not in orders:
        return None
    return Choices(tuple(match["text"].strip() for match in matches if match), tuple(labels))


def _decoded(value: Any) -> Any:
    """The list or mapping in a cell of text: JSON, or Python's own notation, which pandas writes into CSV."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    for parse in (json.loads, literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            parsed = parse(value)
            if isinstance(parsed, (list, dict)):
                return parsed
    what = "list" if value.lstrip().startswith("[") else "mapping"
    raise ValueError(f"the cell {value[:60]!r} is not a JSON {what}")


def _listed(value: Any) -> list[Any]:
    value = _decoded(value)
    if isinstance(value, str):
        return value.split(SEPARATOR)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected a list of choices, not {str(value)[:60]!r}")
    return list(value)


def _text(value: Any, what: str) -> str:
    try:
        text = text_of_cell(value)
    except ValueError as error:
        raise ValueError(f"a {what} {error}") from None
    if text is None:
        raise ValueError(f"a {what} is empty")
    return text
