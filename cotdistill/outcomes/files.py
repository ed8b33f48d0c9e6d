"""The files of one run: a file in any of the formats, or a directory of such files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cotdistill.data.inputs import is_pipe, shown
from cotdistill.data.json_rows import mapping
from cotdistill.data.rows import foreign_rows, is_end
from cotdistill.errors import DataError
from cotdistill.outcomes import inspect_logs, lm_eval, plain, predictions
from cotdistill.outcomes.scored import Scored


@dataclass(frozen=True)
class How:
    """Which outcome to read where a file holds several. `filter`: lm-eval's."""

    rows: plain.HowToRead = field(default_factory=plain.HowToRead)
    filter: str | None = None


def files_of(path: str) -> list[str]:
    """The files of one run: itself, or all files in a directory of ours, lm-eval's or inspect_ai's.

    Raises `DataError` for a directory without any.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [path]
    if predictions.is_run(folder):
        files, remedy = predictions.sets_of(folder), "evaluate the run first"
    else:
        written = [*folder.rglob("samples_*.jsonl"), *folder.rglob("*.eval")]
        files = sorted(written or folder.rglob("*.json"))
        remedy = "name a run, or a directory with samples_*.jsonl (lm-eval --log_samples) or logs of inspect_ai"
    if not files:
        raise DataError.at(path, None, "holds no results of single items", remedy)
    return [str(file) for file in files]


def read_run(path: str, how: How) -> list[Scored]:
    """Every outcome of one run; of several files each is a task. Raises `DataError` for a duplicate item."""
    files = files_of(path)
    outcomes: list[tuple[str, Scored]] = []
    for file in files:
        scored = read_file(file, how)
        if len(files) > 1 and predictions.is_run(Path(path)):
            scored = [replace(outcome, task=Path(file).stem) for outcome in scored]
        outcomes += [(file, outcome) for outcome in scored]
    _refuse_twice(outcomes)
    return [outcome for _, outcome in outcomes]


def read_file(path: str, how: How) -> list[Scored]:
    """The outcomes in one file of any format. Raises `DataError` where nothing in it is an outcome."""
    if not is_pipe(path) and inspect_logs.is_archive(path):
        return inspect_logs.read_log(inspect_logs.read_archive(path), path, how.rows.metric)
    name, rows = shown(path), _objects(path)
    first = next(rows, None)
    if first is None:
        raise DataError.at(name, None, "holds no rows", "give a file with an outcome per item")
    if predictions.is_header(first[1]):
        return predictions.read_answers(path, how.rows.extractor)
    if inspect_logs.is_log(first[1]):
        return inspect_logs.read_log(first[1], name, how.rows.metric)
    again = itertools.chain([first], rows)
    if lm_eval.is_samples(first[1]):
        return lm_eval.read_samples(again, name, how.rows.metric, how.filter)
    return plain.read_rows(again, name, how.rows)


def _objects(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, row in foreign_rows(path):
        if isinstance(row, DataError):
            raise row
        if not is_end(row):
            yield number, mapping(row, shown(path), number)


def _refuse_twice(outcomes: list[tuple[str, Scored]]) -> None:
    seen: dict[Any, tuple[str, int | None]] = {}
    for file, outcome in outcomes:
        key = (outcome.task, outcome.id if outcome.id is not None else outcome.asked, outcome.epoch)
        if key in seen:
            place = ":".join(str(part) for part in seen[key] if part is not None)
            what = f"duplicate id {outcome.id!r}" if outcome.id is not None else "a question that occurs twice"
            task = f" of task {outcome.task}" if outcome.task else ""
            remedy = "make ids unique, or name the files of one run each (seeds: NAME=FILE,FILE)"
            raise DataError.at(shown(file), outcome.line, f"{what}{task}, first in {place}", remedy)
        seen[key] = (shown(file), outcome.line)
