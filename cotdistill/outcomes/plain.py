"""Rows of `{id, correct|score}`, or of `{id, prediction}` with the gold answer: JSON lines, JSON, CSV, TSV, Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cotdistill.answers.answers import answer_kind
from cotdistill.answers.judging import judge_by
from cotdistill.data.records import Example
from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.outcomes.scored import Scored, question_of, text_id, value_of

VALUES = ("correct", "is_correct", "right", "passed", "score", "verdict")
SAID = ("text", "prediction", "output", "answer")
WHOLE = SAID[:2]  # may hold reasoning; the others are an answer alone
GOLD = ("gold", "target", "label", "expected", "reference", "answer")
REMEDY = "a row holds id, and correct or score; or prediction, with the gold answer as gold or from --data"


@dataclass(frozen=True)
class HowToRead:
    """`metric`: the column of outcomes; `gold`: question rows by id, where rows hold predictions alone."""

    metric: str | None = None
    gold: Mapping[str, Example] = field(default_factory=dict)
    extractor: str = "answers"


def read_rows(rows: Iterable[tuple[int, Mapping[str, Any]]], name: str, how: HowToRead) -> list[Scored]:
    """The outcome of each row. Raises `DataError` for one without an outcome, `UsageError` for an unknown column."""
    return [_scored(row, number, name, how) for number, row in rows]


def _scored(row: Mapping[str, Any], number: int, name: str, how: HowToRead) -> Scored:
    id_ = next((text_id(row[one]) for one in ("id", "question_id", "doc_id", "task_id") if one in row), None)
    known = how.gold.get(id_ or "")
    question = question_of(row) or (known.question if known else None)
    if id_ is None and question is None:
        raise DataError.at(name, number, "neither an id nor a question to join it by", REMEDY)
    task = text_id(row.get("task")) or (known.task if known else None)
    return Scored(id_, _value(row, number, name, how, known), task, question, line=number, fields=row)


def _value(row: Mapping[str, Any], number: int, name: str, how: HowToRead, known: Example | None) -> float:
    column = how.metric or next((one for one in VALUES if row.get(one) is not None), None)
    if column is None:
        return _judged(row, number, name, how, known)
    if column not in row:
        columns = list(map(str, row))
        raise UsageError(f"--metric {column}: {name}:{number} has {', '.join(columns)}{did_you_mean(column, columns)}")
    value = value_of(row[column])
    if value is None:
        raise DataError.at(
            name, number, f"{column} is {row[column]!r:.60}, no outcome", "write true, false or a number"
        )
    return value


def _judged(row: Mapping[str, Any], number: int, name: str, how: HowToRead, known: Example | None) -> float:
    """Whether what was said is right, by our extractor."""
    said = next((one for one in SAID if one in row), None)
    gold = text_id(next((row[one] for one in GOLD if one in row and one != said), None)) or (
        known.answer if known else None
    )
    if said is None or gold is None:
        missing = "outcome and no prediction" if said is None else f"gold answer for its {said}"
        raise DataError.at(name, number, f"no {missing}", REMEDY)
    choices = known.choices if known else None
    output = text_id(row[said])
    judge = judge_by(how.extractor, said in WHOLE)
    return float(judge(output, gold, choices, answer_kind(choices, gold))[1] == "right")
