"""Small files in the formats of other tools, from outcomes that are known."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cotdistill.evaluation.metrics import Prediction

Outcomes = Sequence[int]


def drawn(items: int, share: float, seed: int) -> list[int]:
    """Outcomes 0 and 1."""
    return [int(one) for one in np.random.default_rng(seed).random(items) < share]


def question(at: int) -> str:
    return f"What is {at} plus {at}?"


def passage(at: int) -> str:
    return f"passage {at // 4}"


def lm_eval(path: Path, outcomes: Outcomes, filters: Sequence[str] = ("none",), metric: str = "exact_match") -> Path:
    """As lm-eval 0.4.13 writes samples: a line for each item under each filter."""
    lines = [
        {
            "doc_id": at,
            "doc": {"question": question(at), "passage": passage(at), "answer": str(2 * at)},
            "target": str(2 * at),
            "arguments": {"gen_args_0": {"arg_0": question(at), "arg_1": {"until": ["\n"]}}},
            "resps": [["12"]],
            "filtered_resps": ["12"],
            "filter": name,
            "metrics": [metric, "other"],
            metric: float(value),
            "other": 0.25,
        }
        for name in filters
        for at, value in enumerate(outcomes)
    ]
    return _lines(path, lines)


def inspect_log(outcomes: Sequence[Outcomes], task: str = "sums") -> dict[str, Any]:
    """As inspect_ai 0.3 dumps a log; `outcomes` a list for each epoch."""
    samples = [
        {
            "id": at,
            "epoch": epoch,
            "input": question(at),
            "target": str(2 * at),
            "metadata": {"passage": passage(at)},
            "scores": {"match": {"value": "C" if value else "I", "answer": "12"}},
        }
        for epoch, each in enumerate(outcomes, start=1)
        for at, value in enumerate(each)
    ]
    return {"version": 2, "status": "success", "eval": {"task": task, "model": "m"}, "samples": samples}


def inspect_json(path: Path, outcomes: Sequence[Outcomes], task: str = "sums") -> Path:
    path.write_text(json.dumps(inspect_log(outcomes, task), indent=2))
    return path


def inspect_eval(path: Path, outcomes: Sequence[Outcomes]) -> Path:
    log = inspect_log(outcomes)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for sample in log.pop("samples"):
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("header.json", json.dumps(log))
    return path


def rows(path: Path, outcomes: Outcomes, **more: Any) -> Path:
    lines = [
        {"id": at, "question": question(at), "passage": passage(at), "correct": bool(value), **more}
        for at, value in enumerate(outcomes)
    ]
    return _lines(path, lines)


def table(path: Path, outcomes: Sequence[float], column: str = "score") -> Path:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", column])
        writer.writerows((at, value) for at, value in enumerate(outcomes))
    return path


def ours(path: Path, outcomes: Outcomes) -> Path:
    made = [
        Prediction(
            id=str(at),
            task="sums",
            question=question(at),
            choices=None,
            gold=str(2 * at),
            rationale=None,
            output=str(2 * at if value else 2 * at + 1),
            answer=None,
            verdict="wrong",  # never trusted
            finished=True,
            generated=1,
            forwarded=1,
        )
        for at, value in enumerate(outcomes)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"settings": "x"}\n' + "".join(one.model_dump_json() + "\n" for one in made))
    return path


def _lines(path: Path, lines: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
