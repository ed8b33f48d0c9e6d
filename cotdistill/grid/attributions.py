"""Key words: which words of the rationales matter to a trained student or to the teacher, scored once for all cells.

The scores are in a sidecar, scores/BY-DECODING-STUDENT-DIGEST8.jsonl, keyed by the rationale's digest.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.console import is_main_process
from cotdistill.data.files import file_digest, json_digest, write_text
from cotdistill.data.records import Item
from cotdistill.distilling import distill_items
from cotdistill.grid.arms import Arm
from cotdistill.grid.rows import rows_file
from cotdistill.grid.tasks import WorkerState
from cotdistill.run_key import student_digest
from cotdistill.strategies.grids import ATTRIBUTED, TEACHER_FORM
from cotdistill.strategies.scores import rationale_digest
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.teachers.huggingface import load_teacher
from cotdistill.teachers.yields import names_answer
from cotdistill.training.attribution import COMPLETE, Attribution, attribute
from cotdistill.training.process_group import wait_for_group


def scores_file(out: Path, by: str, decoding: str, student: str) -> Path:
    """The sidecar with one score per word, by one attribution of one student on the rows of one decoding.

    Students are told apart by their digest: two folders may have one name.
    """
    return out / "scores" / f"{by}-{decoding}-{Path(student).name}-{json_digest(student_digest(student))[:8]}.jsonl"


@dataclass(frozen=True)
class Scoring:
    """A sidecar to be written."""

    by: str
    decoding: str
    student: str

    def file(self, out: Path) -> Path:
        """Its path."""
        return scores_file(out, self.by, self.decoding, self.student)

    @property
    def name(self) -> str:
        """What its task is called."""
        return f"scores of {self.by}"

    def read_by(self, arm: Arm) -> bool:
        """Whether an arm's strategy needs these scores."""
        return scorings([arm]) == [self]

    @property
    def trains(self) -> Arm:
        """The arm whose student is asked (where it is not the teacher)."""
        return Arm(ATTRIBUTED, self.student, self.decoding)


def scorings(arms: list[Arm]) -> list[Scoring]:
    """Every sidecar that these arms read."""
    scorings = [
        Scoring(needs, arm.decoding, arm.student)
        for arm in arms
        if (needs := arm.variant.made.needs_scores) not in (None, "tfidf") and needs is not None
    ]
    return list(dict.fromkeys(scorings))


def score_rows(
    state: WorkerState, scoring: Scoring, settings: DistillConfig, teacher: str | None
) -> tuple[dict[str, Any], float]:
    """Train the rationale-first student (or load the teacher), score every rationale's words, write the sidecar.

    Returns what the report says about it, and the seconds it took.
    """
    began = time.perf_counter()
    path = scoring.file(state.out)
    items = state.items(scoring.trains)
    rationales = [(item.example(), rationale.text, item.answer) for item in items for rationale in item.kept("factual")]
    student, form = _asked(state, scoring, items, settings, teacher)
    if student is None:
        return {}, 0.0
    encoder = student.encoder()
    attributions = attribute(student, encoder, form, rationales, scoring.by)  # type: ignore[arg-type]
    header = {
        "by": scoring.by,
        "of": "teacher" if teacher else scoring.trains.label,
        "seed": settings.seed,
        **summary(attributions),
        "leakage": leakage(items),
    }
    lines = [
        header,
        *(
            {
                "rationale": rationale_digest(example.id, text, answer),
                "scores": list(attribution.scores),
                "worth": attribution.worth,
                "error": attribution.error,
            }
            for (example, text, answer), attribution in zip(rationales, attributions, strict=True)
        ),
    ]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {**header, "digest": file_digest(path)}, time.perf_counter() - began


def read_header(path: Path) -> dict[str, Any]:
    """The header of a sidecar."""
    with path.open(encoding="utf-8") as lines:
        header: dict[str, Any] = json.loads(lines.readline())
    return header


def summary(attributions: list[Attribution]) -> dict[str, float | None]:
    """How complete the attributions are: the median relative error, the share above 5 %, and over all together."""
    errors = [attribution.error for attribution in attributions if attribution.error is not None]
    if not errors:
        return {"completeness_error": None, "above_limit": None, "completeness_error_overall": None}
    missed = sum(
        attribution.error * abs(attribution.worth) for attribution in attributions if attribution.error is not None
    )
    return {
        "completeness_error": median(errors),
        "above_limit": sum(e > COMPLETE for e in errors) / len(errors),
        "completeness_error_overall": missed / max(1e-9, sum(abs(attribution.worth) for attribution in attributions)),
    }


def leakage(items: list[Item]) -> float:
    """The share of rationales that contain the words of their label: keeping those words would copy it."""
    leaking = [names_answer(rationale) for item in items for rationale in item.kept("factual")]
    return sum(leaking) / len(leaking)


def _asked(
    state: WorkerState, scoring: Scoring, items: list[Item], settings: DistillConfig, teacher: str | None
) -> tuple[Student | None, Any]:
    """The model to attribute, and the form; of processes that train together only the first does so."""
    config = state.config
    if teacher is not None:
        if not is_main_process():
            return None, None
        model, _ = load_teacher(teacher, config)
        return model, TEACHER_FORM
    arm = scoring.trains
    student = state.fresh_student(settings)
    device = str(student.device)
    trained = distill_items(
        settings,
        arm.variant.made,
        items,
        rows_file(state.out, arm.decoding).name,
        folder=state.out / "runs",
        student=student,
    )
    assert trained is not None
    del student  # what is attributed is the saved student
    wait_for_group()
    state.restore(Path(trained["run"]), settings, arm)
    if not is_main_process():
        return None, None
    strategy = arm.variant.made
    reader = load_student(
        str(Path(trained["run"]) / "student"),
        device=device,
        trust_remote_code=config.trust_remote_code,
        chat=settings.chat,
        partial_weights=config.partial_weights,
    )
    return reader, strategy.form(strategy.plan[0])
