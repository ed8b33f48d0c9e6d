"""The references in every table beside the students: their teacher, and the untrained student.

Both answer the evaluation sets by themselves and are judged as the students are; the teacher is not told answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cotdistill.answers.judging import judge_slot
from cotdistill.config import DistillConfig, ElicitConfig
from cotdistill.data.files import write_text
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, package_versions, run_key
from cotdistill.eliciting import elicit, load_pool, open_teacher, resolve
from cotdistill.errors import NothingLeft
from cotdistill.evaluation.metrics import Prediction
from cotdistill.run_key import student_digest
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.forms import Strategy
from cotdistill.teachers.planning import Planner
from cotdistill.teachers.recorded import replays

if TYPE_CHECKING:  # `verify` reads what a teacher answered without torch
    from cotdistill.students.student import Student

ANSWERS = "{rationale} So the answer is {answer}."  # how a teacher that is not told the answer ends


def teacher_predictions(config: ElicitConfig, examples: list[Example]) -> list[Prediction]:
    """The teacher's greedy answers to `examples`; `config` names teacher, data and split, and the file they go to.

    Running it again resumes, as elicit does. Tokens are those of rationale and answer sentence by the teacher's own
    tokenizer (0 for a recorded teacher).
    """
    assert config.out is not None
    with suppress(NothingLeft):  # a teacher that is never right is a result
        if not config.out.exists():
            elicit(config)
    items = {item.id: item for item in read_items(config.out)}
    counts = _token_counts(config, examples, items)
    return [teacher_prediction(example, items[example.id], *counts.get(example.id, (0, 0))) for example in examples]


def untrained_card(student: Student, strategy: Strategy, config: DistillConfig) -> RunCard:
    """A run card without a run: the base model, decoded as a strategy's students are."""
    name, weights = config.student, student_digest(config.student)
    return RunCard(
        key=run_key(
            strategy=dump_strategy(strategy), student=weights, untrained=True, answers=config.answers, chat=config.chat
        ),
        strategy=dump_strategy(strategy),
        student={
            "name": name,
            "family": student.model.config.model_type,
            "parameters": student.model.num_parameters(),
            "digest": weights,
        },
        data={"source": "", "digest": digest([]), "rows": 0, "trained_on": 0, "world": None},
        config=config.model_dump(mode="json"),
        counts={"learned_tokens": {}, "input_tokens": 0},
        trained={"steps": 0, "processes": 1},
        versions=package_versions(),
    )


def write_predictions(path: Path, settings: str, examples: Sequence[Example], predictions: list[Prediction]) -> None:
    """A predictions file as evaluate writes it."""
    header = json.dumps({"settings": settings, "questions": digest(examples)})
    write_text(path, header + "\n" + "".join(prediction.model_dump_json() + "\n" for prediction in predictions))


def teacher_prediction(example: Example, item: Item, generated: int, forwarded: int) -> Prediction:
    """What the teacher's row says in answer to a question."""
    rationale = next((r for r in item.rationales if r.kind == "factual"), None)  # none where the call failed
    output = rationale.answer if rationale else None
    return Prediction.of(
        example,
        output,
        judge_slot,
        rationale=rationale.text if rationale else None,
        finished=rationale is not None and rationale.finished,
        generated=generated,
        forwarded=forwarded,
    )


def _token_counts(config: ElicitConfig, examples: list[Example], items: dict[str, Item]) -> dict[str, tuple[int, int]]:
    """{id: (tokens generated, tokens forwarded)}; a teacher's weights are not needed to count."""
    if replays(config.teacher):
        return {}
    config = resolve(config)
    teacher = open_teacher(config, dry_run=True)
    planner = Planner.of(config, teacher, examples, lambda: load_pool(config))
    counts = {}
    for call in planner.calls(examples, examples):
        rationales = items[call.example.id].rationales
        text = ANSWERS.format(rationale=rationales[0].text, answer=rationales[0].answer) if rationales else ""
        generated = teacher.count(text) if text else 0
        counts[call.example.id] = (generated, teacher.count(call.prompt) + generated)
    return counts
