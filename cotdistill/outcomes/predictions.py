"""Our own predictions: `RUN/predictions/SET.jsonl`, judged again by our extractor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cotdistill.evaluation.metrics import judged_again
from cotdistill.evaluation.stored import read_predictions
from cotdistill.outcomes.scored import Scored

BESIDE = {".probes", ".samples", ".explanations", ".timings"}  # other files beside predictions


def is_header(row: Mapping[str, Any]) -> bool:
    """Whether a line is the first of a predictions file."""
    return "settings" in row and "id" not in row


def is_run(folder: Path) -> bool:
    """Whether a directory is a run."""
    return (folder / "run.json").is_file()


def sets_of(run: Path) -> list[Path]:
    """The predictions of a run, one file per set."""
    return sorted(
        path
        for path in (run / "predictions").glob("*.jsonl")
        if not BESIDE & {*path.suffixes} and not path.name.startswith(".")
    )


def read_answers(path: str, extractor: str) -> list[Scored]:
    """The outcomes of one predictions file: 1 for a right answer, 0 for a wrong or unparsed one."""
    return [
        Scored(p.id, float(p.verdict == "right"), p.task, p.question, line=line, fields=p.model_dump())
        for line, p in enumerate(judged_again(read_predictions(Path(path)), extractor), start=2)
    ]
