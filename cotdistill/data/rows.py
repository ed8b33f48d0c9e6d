"""Rows of our own formats: strict readers of what this tool wrote, and one entrance for foreign files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cotdistill.config.common import BadRows
from cotdistill.data.bad_rows import STOP, Refused
from cotdistill.data.inputs import STDIN, opened, shown, suffix
from cotdistill.data.json_rows import Attempt, attempts, json_attempts, mapping
from cotdistill.data.records import Item, Record, compact
from cotdistill.data.tables import csv_rows, delimiter_of, is_parquet, parquet_rows
from cotdistill.errors import DataError, did_you_mean
from cotdistill.garbage import collector_paused

R = TypeVar("R", bound=Record)


@collector_paused()
def read_items(
    source: str | Path,
    limit: int | None = None,
    allow_partial: bool = False,
    bad: BadRows = STOP,
    refused: Refused | None = None,
) -> list[Item]:
    """Elicited rows of a file, or of stdin for `-`.

    A stream must close with `{"end": {"rows": n, "failed": m}}`: without it the first stage of the pipe died,
    and training on the half that came through would go unnoticed (`allow_partial` trains on it anyway).
    `refused` collects the rows that were skipped, for whoever counts them.
    """
    name = shown(source)
    rows: list[Item] = []
    seen: dict[str, int] = {}
    refused, came = refused or Refused(name, bad), 0
    ends: list[Any] = []  # of several streams joined, one each
    for number, fields in json_attempts(source, _quick_item):
        if is_end(fields):
            ends.append(fields["end"])
            continue
        came += 1
        if (limit is None or len(rows) < limit) and (
            row := refused.attempt(number, partial(_item, fields, name, number, seen))
        ):
            rows.append(row)
    refused.tell(len(rows))
    if ends and not allow_partial and _counted(ends) != came:
        raise DataError.at(
            name,
            None,
            f"the end line counts {_counted(ends)} rows, but {came} came through",
            "rerun the previous command, or pass --allow-partial",
        )
    if str(source) == STDIN and not allow_partial and not ends:
        raise DataError.at(
            name,
            None,
            f"the stream stopped after {len(rows)} rows without its end line, so the previous command failed",
            "rerun it, or pass --allow-partial",
        )
    if not rows:
        raise DataError.at(name, None, "contains no rows", "give a file with one JSON object per line")
    return rows


def _counted(ends: list[Any]) -> int:
    """The number of rows that the end lines of streams announce; -1 where one does not say."""
    counts = [count for end in ends if isinstance(end, dict) and type(count := end.get("rows")) is int]
    return sum(counts) if len(counts) == len(ends) else -1


def _item(fields: Any, name: str, number: int, seen: dict[str, int]) -> Item:
    if isinstance(fields, DataError):
        raise fields
    row = fields if isinstance(fields, Item) else parsed(Item, mapping(fields, name, number), name, number)
    note_id(seen, row.id, name, number)
    return row


def foreign_rows(source: str | Path) -> Iterator[Attempt]:
    """(line, row) of JSON lines, a JSON array, CSV, TSV or Parquet, or the `DataError` of a malformed line."""
    name = shown(source)
    with opened(source) as stream:
        delimiter = None
        if is_parquet(stream):
            yield from parquet_rows(stream, name)
        elif (delimiter := delimiter_of(stream, suffix(source))) is not None:
            yield from csv_rows(stream, name, delimiter)
        else:
            yield from attempts(stream, name)


def is_end(fields: Any) -> bool:
    """Whether a line closes a stream."""
    return isinstance(fields, dict) and len(fields) == 1 and "end" in fields


def note_id(seen: dict[str, int], key: str, name: str, number: int) -> None:
    """Remember the line of an id; `DataError` where the id was seen before."""
    if key in seen:
        raise DataError.at(name, number, f"duplicate id {key!r}, first on line {seen[key]}", "make ids unique")
    seen[key] = number


def parsed(record: type[R], fields: dict[str, Any], name: str, number: int) -> R:
    """A line of our own format. Raises `DataError` for a field that is wrong, missing or unknown."""
    try:
        return _lean(record.model_validate_json(json.dumps(fields)))
    except RecursionError:
        raise DataError.at(name, number, "nested too deeply", "correct the row") from None
    except ValidationError as error:
        raise complaint(error, record, name, number) from None


def _quick_item(line: str) -> Item | None:
    """A line in one step; None where it is no elicited row: it is read again, by those who say what is wrong."""
    if line.startswith('{"end":'):
        return None
    try:
        return _lean(Item.model_validate_json(line))
    except ValueError:  # pydantic's, and that of a text which was not UTF-8
        return None


def _lean(record: R) -> R:
    for rationale in getattr(record, "rationales", ()):
        compact(rationale)
    return compact(record)


def complaint(error: ValidationError, record: type[Record], name: str, number: int) -> DataError:
    """The first error in a row, as one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "row"
    if first["type"] == "extra_forbidden":
        known = [str(field) for field in record.model_fields]
        remedy = f"remove it; the fields are {', '.join(known)}"
        what = f"unknown field {where!r}{did_you_mean(where, known)}"
    elif first["type"] == "missing":
        what, remedy = f"the field {where!r} is missing", f"add it (a {record.__name__.lower()} row needs it)"
    else:
        message = first["msg"].removeprefix("Value error, ")
        what = message if where == "row" else f"field {where!r}: {message}"
        remedy = "correct the row"
    return DataError.at(name, number, what, remedy)
