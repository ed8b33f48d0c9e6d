"""Strict JSON-lines readers: every complaint names file, line, what is wrong and the remedy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import ValidationError

from cotdistill.data.records import Example, Item, Record
from cotdistill.errors import DataError, did_you_mean

R = TypeVar("R", bound=Record)
STDIN = "-"


def read_examples(source: str | Path, limit: int | None = None) -> list[Example]:
    """Question rows of a file, or of stdin for `-`; `task` defaults as the contract says."""
    rows = _read(source, Example, limit)
    stem = "stdin" if str(source) == STDIN else Path(source).name.split(".")[0]
    return [row if row.task else row.model_copy(update={"task": _task_of(row.id, stem)}) for row in rows]


def read_items(source: str | Path, limit: int | None = None, allow_partial: bool = False) -> list[Item]:
    """Elicited rows of a file, or of stdin for `-`.

    A stream must close with `{"end": {"rows": n, "failed": m}}`: without it the first stage of the pipe died,
    and training on the half that came through would pass unseen (`allow_partial` trains on it anyway).
    """
    return _read(source, Item, limit, needs_end=str(source) == STDIN and not allow_partial)


def json_lines(source: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for every non-blank line; malformed lines raise `DataError`."""
    name = "stdin" if str(source) == STDIN else str(source)
    try:
        with _open(source) as stream:
            number = 0
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _object(line, name, number)
    except UnicodeDecodeError as error:
        raise DataError.at(name, None, f"is not UTF-8 (byte {error.start} of a block)",
                           "convert it, e.g. with iconv -t UTF-8") from None


def _read(source: str | Path, record: type[R], limit: int | None, needs_end: bool = False) -> list[R]:
    name = "stdin" if str(source) == STDIN else str(source)
    rows: list[R] = []
    seen: dict[str, int] = {}
    end: dict[str, Any] | None = None
    for number, fields in json_lines(source):
        if "end" in fields and len(fields) == 1:
            end = fields["end"]
            continue
        if limit is not None and len(rows) >= limit:
            continue
        row = _parse(record, fields, name, number)
        key = str(getattr(row, "id", ""))
        if key in seen:
            raise DataError.at(name, number, f"id {key!r} stands already in line {seen[key]}", "make ids unique")
        seen[key] = number
        rows.append(row)
    if needs_end and end is None:
        raise DataError.at(name, None, f"the stream stopped after {len(rows)} rows without its end line, so the "
                           "command before this one failed", "rerun it, or pass --allow-partial")
    if not rows:
        raise DataError.at(name, None, "holds no rows", "give a file with one JSON object a line")
    return rows


def _open(source: str | Path) -> TextIO:
    if str(source) == STDIN:
        return sys.stdin
    path = Path(source)
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*"))) if path.parent.is_dir() else ""
        raise DataError.at(str(source), None, f"no such file{near}", "check the path")
    return path.open(encoding="utf-8")


def _object(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError.at(name, number, f"malformed JSON: {error.msg} at column {error.colno}",
                           "write one JSON object a line") from None
    if not isinstance(fields, dict):
        raise DataError.at(name, number, f"a JSON {type(fields).__name__}, not an object",
                           "write one JSON object a line")
    return fields


def _parse(record: type[R], fields: dict[str, Any], name: str, number: int) -> R:
    try:
        return record.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
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
        raise DataError.at(name, number, what, remedy) from None


def _task_of(row_id: str, stem: str) -> str:
    # BIG-bench-hard files hold many tasks; theirs stands in the id: "bbh-date_understanding-017".
    parts = row_id.split("-")
    return "-".join(parts[1:-1]) if parts[0] == "bbh" and len(parts) > 2 else stem
