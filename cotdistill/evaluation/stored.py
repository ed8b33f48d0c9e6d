"""Figures as they follow from stored predictions: what reports print and `verify` computes again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from cotdistill.config import WalkingOptions
from cotdistill.data.files import json_digest
from cotdistill.data.logs import read_lines
from cotdistill.data.records import Record
from cotdistill.errors import DataError
from cotdistill.evaluation.faithfulness import ProbeAnswer, ProbedQuestion
from cotdistill.evaluation.metrics import (
    Prediction,
    by_task,
    checked_metrics,
    counted,
    judged_again,
    tokens_per_question,
)

R = TypeVar("R", bound=Record)


def settings_digest(config: WalkingOptions, dtype: str, key: str, questions: str) -> str:
    """What the first line of a predictions file says: `key` of the run, digest of the questions, how it was asked."""
    return json_digest(
        {
            "key": key,
            "examples": questions,
            "connectors": config.connectors,
            "max_new_tokens": config.max_new_tokens,
            "score": config.score,
            "dtype": dtype,
            **({} if config.think_budget is None else {"think_budget": config.think_budget}),
            "likelihoods": config.calibrate or config.score == "choices",
        }
    )


def predictions_name(config: WalkingOptions, name: str) -> str:
    """How the predictions file of a set is called: SET, and the way of asking where it is not the default."""
    ways: list[str] = [way for way, plain in ((config.score, "walk"), (config.connectors, "forced")) if way != plain]
    if config.think_budget is not None:
        ways.append(f"think-{config.think_budget}")
    return ".".join([name, *ways])


def set_metrics(path: Path, ids: Sequence[str] | None = None, extractor: str = "answers") -> dict[str, Any]:
    """The figures of one predictions file; `ids`: the questions that must be there, in their order."""
    return recomputed(judged_again(read_predictions(path, ids), extractor))


def recomputed(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What a grid's record says of a set, and `verify` again: no measured time and nothing from a forward pass, so that
    the same predictions give the same figures, byte for byte."""
    checked = {name: value for name, value in checked_metrics(predictions).items() if name != "sound"}
    cost = tokens_per_question(predictions)
    return {**counted(predictions), **cost, "by_task": by_task(predictions), **checked}


def read_predictions(path: Path, ids: Sequence[str] | None = None) -> list[Prediction]:
    """The predictions of one run on one set; `DataError` names the file and the line where they are damaged."""
    by_id = {p.id: p for p in _records(path, Prediction)}
    try:
        return list(by_id.values()) if ids is None else [by_id[name] for name in ids]
    except KeyError as error:
        raise DataError.at(str(path), None, f"has no prediction for {error.args[0]!r}", "evaluate it again") from None


def read_probes(path: Path) -> dict[str, dict[str, ProbeAnswer | None]]:
    """{question: {probe: its answer}} of one probes file; a later line adds probes of a later call."""
    answers: dict[str, dict[str, ProbeAnswer | None]] = {}
    for probed in _records(path, ProbedQuestion):
        answers.setdefault(probed.id, {}).update(probed.probes)
    return answers


def _records(path: Path, record: type[R]) -> list[R]:
    """The records behind the first line, which says under which settings they were made."""
    try:
        return read_lines(path, record.model_validate_json, first=2)
    except OSError as error:
        raise DataError.at(str(path), None, str(error.strerror), "evaluate the run again") from None
