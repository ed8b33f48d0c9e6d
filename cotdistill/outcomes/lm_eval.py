"""samples_TASK_TIME.jsonl of EleutherAI's lm-evaluation-harness, as `--log_samples` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.outcomes.scored import Scored, canonical, question_of, text_id, value_of

NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.:-]+\.jsonl")
Line = tuple[int, Mapping[str, Any]]


def is_samples(row: Mapping[str, Any]) -> bool:
    """Whether the first line of a file is one of lm-eval's samples."""
    return {"doc_id", "doc", "filter"} <= row.keys()


def task_of(path: str) -> str | None:
    """The task in a file's name; its lines do not name it."""
    named = NAME.fullmatch(Path(path).name)
    return named["task"] if named else None


def read_samples(rows: Iterable[Line], name: str, metric: str | None, chosen: str | None) -> list[Scored]:
    """The outcomes by one metric under one filter; by default the task's first metric, and its only filter.

    Raises `UsageError` for a filter or metric that is missing or has to be chosen.
    """
    lines = list(rows)
    filters = list(dict.fromkeys(str(row.get("filter")) for _, row in lines))
    wanted = _filter(filters, chosen, name)
    return [
        _scored(row, number, name, metric, task_of(name)) for number, row in lines if str(row.get("filter")) == wanted
    ]


def _filter(filters: Sequence[str], chosen: str | None, name: str) -> str:
    if chosen is None and len(filters) > 1:
        raise UsageError(f"{name} holds every answer under {len(filters)} filters; choose --filter {_or(filters)}")
    if chosen is not None and len(filters) > 1 and chosen not in filters:
        raise UsageError(f"--filter {chosen}: {name} has {_or(filters)}{did_you_mean(chosen, filters)}")
    return filters[0] if chosen is None or chosen not in filters else chosen


def _scored(row: Mapping[str, Any], number: int, name: str, metric: str | None, task: str | None) -> Scored:
    known = [str(listed) for listed in row.get("metrics") or ()]
    by = metric or next(iter(known), "")
    if by not in known:
        raise UsageError(f"--metric {by}: {name}:{number} has {_or(known)}{did_you_mean(by, known)}")
    value = value_of(row.get(by))
    if value is None:
        raise DataError.at(name, number, f"its {by} is no number", f"choose another --metric ({_or(known)})")
    doc = row["doc"]
    fields = doc if isinstance(doc, Mapping) else {"doc": doc}
    return Scored(
        text_id(row["doc_id"]), value, task, question_of(fields) or canonical(doc), line=number, fields=fields
    )


def _or(names: Sequence[str]) -> str:
    return " or ".join(names) or "none"
