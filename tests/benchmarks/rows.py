"""Rows of the embedded world in any number, as the files that commands read: no two have the same id or rationale."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.config import DEMO
from cotdistill.data.records import Example, Item, Rationale
from cotdistill.plugins.kinds import checker_of
from cotdistill.world.questions import rows

SEEDS = 5  # worlds of 1,000 rows each that are told again and again


def told() -> Iterator[tuple[Example, str, str]]:
    """(question, the answer that a chain argues for, the chain) without end; every fourth chain is misled."""
    base = [
        Example.model_validate(row, strict=False) for seed in range(SEEDS) for row in rows(DEMO, "train", seed=seed)
    ]
    chains: dict[tuple[str, str], str] = {}
    at = 0
    while True:
        for row in base:
            answer = row.answer if at % 4 else next(one for one in row.choices or () if one != row.answer)
            key = row.question, answer
            if key not in chains:
                checker = checker_of(row.question)
                assert checker is not None
                chains[key] = checker.argue(*key) or ""
            update = {"id": f"row-{at:07d}", "rationale": None, "source": None, "license": None}
            yield row.model_copy(update=update), answer, f"{chains[key]} This is chain number {at} of many."
            at += 1


def write_all(folder: Path, count: int) -> None:
    """questions.jsonl, questions.csv, recorded.jsonl, rows.jsonl and predictions.jsonl of `count` questions."""
    names = ("questions.jsonl", "recorded.jsonl", "rows.jsonl", "predictions.jsonl")
    questions, recorded, elicited, predictions = ((folder / name).open("w") for name in names)
    with (folder / "questions.csv").open("w", newline="") as sheet:
        table = csv.writer(sheet)
        table.writerow(("id", "stem", "A", "B", "C", "D", "key"))
        for row, answer, chain in islice(told(), count):
            choices = row.choices or ()
            said = f"{chain} So the answer is ({'abcd'[choices.index(answer)]})."
            fields = row.model_dump(mode="json", include={"id", "question", "choices", "answer", "task", "split"})
            _add(questions, fields)
            _add(recorded, {"id": row.id, "teacher": "bench", "samples": [{"text": said}]})
            _add(elicited, json.loads(Item.of(row, [_rationale(chain, row.answer)]).line()))
            _add(predictions, {"id": row.id, "text": said})
            table.writerow((row.id, row.question, *choices, "ABCD"[choices.index(row.answer)]))
    for stream in (questions, recorded, elicited, predictions):
        stream.close()


def _add(stream: Any, fields: dict[str, Any]) -> None:
    stream.write(json.dumps(fields, ensure_ascii=False) + "\n")


def _rationale(text: str, answer: str) -> Rationale:
    return Rationale(
        kind="factual",
        text=text,
        answer=answer,
        correct=True,
        label="keep",
        teacher="bench",
        decoding={"decode": "recorded", "sample": 0},
        prompt=None,
        finished=True,
    )


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), int(sys.argv[2]))
