"""Question rows as people have them: ours, elicited ones, tables, and foreign rows under a --map.

Liberal in what is read: integer ids and answers, no id (then the line names the row), no choices, blanks around
the answer, the user's own fields (kept under `extra`). A misspelt field of ours is still refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from pydantic import ValidationError

from cotdistill.config.common import BadRows
from cotdistill.console import warn_once
from cotdistill.data.bad_rows import STOP, Refused
from cotdistill.data.cells import strict_json, text_of_cell
from cotdistill.data.choices import Answer, Choices, Index, answer_of, at_index, base_of, poles, read_choices
from cotdistill.data.columns import Column, Columns
from cotdistill.data.inputs import shown, stem
from cotdistill.data.json_rows import Attempt
from cotdistill.data.records import Example, Question, compact
from cotdistill.data.rows import complaint, foreign_rows, is_end, note_id
from cotdistill.errors import DataError
from cotdistill.garbage import collector_paused

Q = TypeVar("Q", bound=Question)
KNOWN = tuple(field for field in Example.model_fields if field != "extra")
KNOWN_SET = frozenset(KNOWN)
OPTIONAL = ("task", "split", "rationale", "source", "license")
ELICITED = "rationales"  # the field that makes an elicited row
CLOSE = 0.82  # similarity to a known field from which on an unknown one counts as misspelt
REMEDY = "correct the row, or name its columns with --map"


@dataclass(frozen=True)
class PendingRow:
    """A row whose answer may still be an index: only all rows together tell whether a file counts from 0 or 1."""

    line: int
    fields: dict[str, Any]
    answer: Answer | None  # None: the row has none, and none was asked for
    choices: Choices | None


Convert = Callable[[Mapping[str, Any], int, str], PendingRow]  # a row, its line, and what names it if it has no id


def read_examples(source: str | Path, limit: int | None = None) -> list[Example]:
    """Question rows of a file, or of stdin for `-`; `task` defaults as the contract says."""
    return read_questions(str(source))[:limit]


def read_questions(
    name: str, columns: Columns | None = None, split: str | None = None, bad: BadRows = STOP
) -> list[Example]:
    """The question rows of a file, under a map or with our own fields.

    Raises `DataError` for the first bad row, or where `bad` skips and too many are.
    """
    return _read_file(name, columns, split, bad, Example)


def read_unanswered(
    name: str, columns: Columns | None = None, split: str | None = None, bad: BadRows = STOP
) -> list[Question]:
    """`read_questions` for rows that need not say their answers; those that are there are dropped."""
    return _read_file(name, columns, split, bad, Question)


def _read_file(name: str, columns: Columns | None, split: str | None, bad: BadRows, record: type[Q]) -> list[Q]:
    task, answered = stem(name), issubclass(record, Example)
    convert = mapped(columns, task, split, answered) if columns is not None else own(task, shown(name), answered)
    return made_of(foreign_rows(name), convert, shown(name), record, columns.first if columns else None, bad)


@collector_paused()
def made_of(
    rows: Iterable[Attempt], convert: Convert, name: str, record: type[Q], first: int | None = None, bad: BadRows = STOP
) -> list[Q]:
    """The records of numbered rows; ids are unique, and there is at least one row."""
    read: list[Q | PendingRow] = []
    seen: dict[str, int] = {}
    refused = Refused(name, bad)
    for line, place, row in _placed(rows):
        if not is_end(row) and (
            row_read := refused.attempt(line, partial(_read, row, convert, name, line, place, seen, record))
        ):
            read.append(row_read)
    base = base_of(
        [
            row_read.answer
            for row_read in read
            if isinstance(row_read, PendingRow) and isinstance(row_read.answer, Index)
        ],
        first,
    )
    examples = [
        example
        for row_read in read
        if (
            example := row_read
            if not isinstance(row_read, PendingRow)
            else refused.attempt(row_read.line, partial(_record, row_read, name, record, base))
        )
    ]
    refused.tell(len(examples))
    if not examples:
        raise DataError.at(name, None, "contains no rows", "give a file with one JSON object per line, or a table")
    return examples


def _placed(rows: Iterable[Attempt]) -> Iterator[tuple[int, str, Any]]:
    """(line, place, row): places are lines, told apart where an array has several rows on one."""
    last, beside = 0, 0
    for line, row in rows:
        last, beside = line, beside + 1 if line == last else 1
        yield line, f"{line:05d}" if beside == 1 else f"{line:05d}-{beside}", row


def own(task: str, name: str, answered: bool = True) -> Convert:
    """Rows with our own field names; missing fields with a default are filled in.

    `answered`: a row without an answer is refused.
    """
    strangers: set[str] = set()

    def convert(row: Mapping[str, Any], line: int, place: str) -> PendingRow:
        if _is_plain(row):
            choices = row["choices"] and Choices(tuple(row["choices"]))
            return PendingRow(
                line, {**row, "task": row.get("task") or task_of(row["id"], task)}, row["answer"], choices
            )
        fields = {key: row[key] for key in KNOWN if key in row}
        extra = {key: value for key, value in row.items() if key not in fields}
        if isinstance(row.get(ELICITED), list):
            fields["rationale"] = _elicited(extra.pop(ELICITED))
        extra |= extra.pop("extra", None) or {} if isinstance(extra.get("extra"), Mapping) else {}
        _refuse_misspelt(extra, fields)
        for key in ("question", "answer") if answered else ("question",):
            if key not in fields:
                raise ValueError(f"the field {key!r} is missing (the row has {', '.join(map(str, list(row)[:20]))})")
        if extra and not strangers >= extra.keys():
            strangers.update(extra)
            warn_once(f"{name}: fields of its own are kept under extra: {', '.join(sorted(map(str, strangers)))}")
        fields["id"] = _text(fields, "id") or f"{task}-rows-{place}"
        for key in OPTIONAL:
            if key in fields:
                fields[key] = _text(fields, key)
        if not isinstance(fields["question"], str) or not fields["question"].strip():
            fields["question"] = _needed(fields, "question")
        fields["task"] = fields.get("task") or task_of(fields["id"], task)
        if isinstance(fields.get("answer_index"), (str, float)):
            fields["answer_index"] = _whole(fields["answer_index"])
        if extra:
            fields["extra"] = strict_json(extra)
        answer, choices = fields.pop("answer", None), fields.pop("choices", None)
        if not answered and text_of_cell(answer) is None:
            return PendingRow(line, fields, None, read_choices(choices))
        return _drafted(line, fields, answer, choices, None, free="choices" in row)

    return convert


def mapped(columns: Columns, task: str, split: str | None, answered: bool = True) -> Convert:
    """Rows whose columns a map names; nothing else in them is read. `answered`: one without an answer is refused."""

    def convert(row: Mapping[str, Any], line: int, place: str) -> PendingRow:
        parts = [part for column in columns.question if (part := column_text(column, row, "question")) is not None]
        if not parts:
            raise ValueError(f"the question is missing ({_names(columns.question)} is empty)")
        rationale = _sentences(columns.rationale[0].of(row)) if columns.rationale else None
        identity = column_text(columns.id[0], row, "id") if columns.id else None
        fields = {
            "id": identity or f"{task}-{split or 'rows'}-{place}",
            "question": " ".join(parts),
            "task": task,
            "split": split,
            "rationale": rationale,
        }
        labels = columns.labels[0].of(row) if columns.labels else None
        choices = _cells_of_choices(columns.choices, row)
        answer = column_text(columns.answer[0], row, "answer") if answered or columns.answer else None
        if not answered and answer is None:
            return PendingRow(line, fields, None, read_choices(choices, labels))
        return _drafted(line, fields, columns.answer[0].of(row), choices, labels, is_index=columns.first is not None)

    return convert


def column_text(column: Column, row: Mapping[str, Any], part: str) -> str | None:
    """A column's text in a row. Raises `ValueError` for a list or mapping: the error asks which part is meant."""
    try:
        return text_of_cell(column.of(row))
    except ValueError as error:
        if not str(error).startswith("is a "):
            raise
        value = column.of(row)
        inside = f"{next(iter(value), 'text')}" if isinstance(value, Mapping) else "0.content"
        raise ValueError(
            f"the {part} ({column.name!r}) {error}; point to the {part} in it, such as {column.name}.{inside}"
        ) from None


def task_of(row_id: str, stem: str) -> str:
    """BIG-bench-hard files hold many tasks; the task is part of the id: "bbh-date_understanding-017"."""
    parts = row_id.split("-")
    return "-".join(parts[1:-1]) if parts[0] == "bbh" and len(parts) > 2 else stem


def _read(
    row: Any, convert: Convert, name: str, line: int, place: str, seen: dict[str, int], record: type[Q]
) -> Q | PendingRow:
    """A row as a record, or pending where its answer is an index."""
    draft = _draft(row, convert, name, line, place)
    example = draft if isinstance(draft.answer, Index) else _record(draft, name, record)
    note_id(seen, draft.fields["id"], name, line)
    return example


def _draft(row: Any, convert: Convert, name: str, line: int, place: str) -> PendingRow:
    if isinstance(row, DataError):
        raise row
    if not isinstance(row, Mapping):
        raise DataError.at(name, line, f"a JSON {type(row).__name__}, not an object", "write one JSON object per line")
    try:
        return convert(row, line, place)
    except (ValueError, RecursionError) as error:
        raise DataError.at(name, line, str(error), REMEDY) from None


def _drafted(
    line: int,
    fields: dict[str, Any],
    answer: Any,
    choices: Any,
    labels: Any,
    free: bool = False,
    is_index: bool = False,
) -> PendingRow:
    """`free`: the row says that there are no choices; otherwise an answer yes or no implies them."""
    offered = read_choices(choices, labels)
    if offered is None:
        text = ("yes" if answer else "no") if isinstance(answer, bool) else _needed({"answer": answer}, "answer")
        pair = None if free and choices is None else poles(text)
        return PendingRow(line, fields, text, Choices(pair) if pair else None)
    _needed({"answer": answer}, "answer")
    value, offered = answer_of(answer, offered, is_index)
    return PendingRow(line, fields, value, offered)


def _is_plain(row: Mapping[str, Any]) -> bool:
    """Whether a row is exactly as in the contract: it is taken unchanged (most are, and it saves time)."""
    choices, answer = row.get("choices", ...), row.get("answer")
    return (
        row.keys() <= KNOWN_SET
        and isinstance(answer, str)
        and bool(answer)
        and answer == answer.strip()
        and (
            choices is None
            or (
                isinstance(choices, list)
                and answer in choices
                and len(choices) > 1
                and all(type(choice) is str for choice in choices)
            )
        )
        and all(type(row.get(key)) is str and row[key].strip() for key in ("id", "question"))
        and all(type(row.get(key)) in (str, NoneType) for key in OPTIONAL)
    )


def _text(fields: Mapping[str, Any], key: str) -> str | None:
    try:
        return text_of_cell(fields.get(key))
    except ValueError as error:
        raise ValueError(f"field {key!r} {error}") from None


def _needed(fields: Mapping[str, Any], key: str) -> str:
    text = _text(fields, key)
    if text is None:
        raise ValueError(f"field {key!r} is empty")
    return text


def _whole(value: str | float) -> Any:
    """An index as tables write it; anything else is left for the record to refuse."""
    text = str(value).strip()
    if not text:
        return None
    return int(float(text)) if re.fullmatch(r"-?\d{1,9}(\.0+)?", text) else value


def _sentences(value: Any) -> str | None:
    """A rationale: text, or joined sentences."""
    if isinstance(value, (list, tuple)):
        return " ".join(part for sentence in value if (part := text_of_cell(sentence))) or None
    return text_of_cell(value)


def _elicited(rationales: Sequence[Any]) -> str | None:
    """An elicited row's rationale as a question's own: the first factual one that was kept."""
    return next(
        (
            rationale["text"]
            for rationale in rationales
            if isinstance(rationale, Mapping)
            and rationale.get("kind") == "factual"
            and rationale.get("label") == "keep"
            and isinstance(rationale.get("text"), str)
        ),
        None,
    )


def _cells_of_choices(columns: Sequence[Column], row: Mapping[str, Any]) -> Any:
    """A single cell unchanged; several columns as choices labelled by their names, empty ones left out."""
    if len(columns) <= 1:
        return columns[0].of(row) if columns else None
    cells = {column.name: column.of(row) for column in columns}
    return {name: value for name, value in cells.items() if text_of_cell(value) is not None}


def _names(columns: Sequence[Column]) -> str:
    return " and ".join(repr(column.name) for column in columns)


def _refuse_misspelt(extra: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an unknown field that looks like a misspelling of ours."""
    for name in map(str, extra):
        for known in KNOWN:
            plural = known in fields and (name.startswith(known) or known.startswith(name))
            if not plural and _misspells(name, known):
                raise ValueError(f'unknown field {name!r} (did you mean "{known}"?)')


@cache
def _misspells(name: str, known: str) -> bool:
    if len(known) < 4 or name == known:
        return False
    low = name.lower()
    return low == known or sorted(low) == sorted(known) or (difflib.SequenceMatcher(None, low, known).ratio() > CLOSE)


def _record(draft: PendingRow, name: str, record: type[Q], base: int = 0) -> Q:
    texts = draft.choices.texts if draft.choices else None
    try:
        answer = at_index(draft.answer, base, texts or ()) if isinstance(draft.answer, Index) else draft.answer
        fields = {**draft.fields, "choices": texts, "answer": answer}
        return compact(record.model_validate({key: fields[key] for key in record.model_fields if key in fields}))
    except ValidationError as error:
        raise complaint(error, record, name, draft.line) from None
    except ValueError as error:
        raise DataError.at(name, draft.line, str(error), REMEDY) from None
