"""Key words: which words of the rationales matter to a trained student or to the teacher, made once for all cells.

The scores stand in a sidecar, scores/BY-DECODING-STUDENT-DIGEST8.jsonl, keyed by the rationale's digest.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig
from cotdistill.console import is_main_process
from cotdistill.data.files import file_digest, write_text
from cotdistill.data.records import Item
from cotdistill.distill import distill_items
from cotdistill.grid.arms import Arm
from cotdistill.grid.rows import rows_file
from cotdistill.grid.workshop import Workshop, scores_file
from cotdistill.strategies.grids import ATTRIBUTED, TEACHER_FORM
from cotdistill.strategies.scores import rationale_digest
from cotdistill.students.attribution import COMPLETE, Attribution, attribute
from cotdistill.students.families import Student
from cotdistill.students.group import wait_for_group
from cotdistill.students.load import load_student
from cotdistill.teachers.huggingface import load_teacher
from cotdistill.teachers.yields import names_answer


@dataclass(frozen=True)
class Scoring:
    """One sidecar to be made."""

    by: str
    decoding: str
    student: str

    def file(self, out: Path) -> Path:
        """Where it lies."""
        return scores_file(out, self.by, self.decoding, self.student)

    @property
    def trains(self) -> Arm:
        """The arm whose student is asked (where it is not the teacher)."""
        return Arm(ATTRIBUTED, self.student, self.decoding)


def scorings(arms: list[Arm]) -> list[Scoring]:
    """Every sidecar that these arms read."""
    found = [Scoring(needs, arm.decoding, arm.student) for arm in arms
             if (needs := arm.variant.made.needs_scores) not in (None, "tfidf") and needs is not None]
    return list(dict.fromkeys(found))


def score_rows(workshop: Workshop, scoring: Scoring, settings: DistillConfig,
               teacher: str | None) -> tuple[dict[str, Any], float]:
    """Train the rationale-first student (or load the teacher), score every rationale's words, write the sidecar.

    Returns what the report says of it, and the seconds it took.
    """
    began = time.perf_counter()
    path = scoring.file(workshop.out)
    items = workshop.items(scoring.trains)
    asked = [(item.example(), rationale.text, item.answer) for item in items for rationale in item.kept("factual")]
    student, form = _asked(workshop, scoring, items, settings, teacher)
    if student is None:
        return {}, 0.0
    encoder = student.encoder(share="none")
    found = attribute(student, encoder, form, asked, scoring.by)  # type: ignore[arg-type]
    header = {"by": scoring.by, "of": "teacher" if teacher else scoring.trains.label, "seed": settings.seed,
              **summary(found), "leakage": leakage(items)}
    lines = [header, *({"rationale": rationale_digest(example.id, text, answer), "scores": list(one.scores),
                        "worth": one.worth, "error": one.error}
                       for (example, text, answer), one in zip(asked, found, strict=True))]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {**header, "digest": file_digest(path)}, time.perf_counter() - began


def read_header(path: Path) -> dict[str, Any]:
    """What a sidecar says of itself."""
    with path.open(encoding="utf-8") as lines:
        header: dict[str, Any] = json.loads(lines.readline())
    return header


def summary(found: list[Attribution]) -> dict[str, float | None]:
    """How complete the attributions are: the median relative error, the share above 5 %, and over all together."""
    errors = [one.error for one in found if one.error is not None]
    if not errors:
        return {"completeness_error": None, "above_limit": None, "completeness_error_overall": None}
    missed = sum(one.error * abs(one.worth) for one in found if one.error is not None)
    return {"completeness_error": median(errors), "above_limit": sum(e > COMPLETE for e in errors) / len(errors),
            "completeness_error_overall": missed / max(1e-9, sum(abs(one.worth) for one in found))}


def leakage(items: list[Item]) -> float:
    """The share of rationales that hold the words of their label: keeping those words would be copying it."""
    kept = [names_answer(rationale) for item in items for rationale in item.kept("factual")]
    return sum(kept) / len(kept)


def _asked(workshop: Workshop, scoring: Scoring, items: list[Item], settings: DistillConfig,
           teacher: str | None) -> tuple[Student | None, Any]:
    """Who is asked, and how; of processes that train together the first alone asks."""
    config: AblateConfig = workshop.config
    if teacher is not None:
        if not is_main_process():
            return None, None
        model, _ = load_teacher(ElicitConfig(teacher=teacher, device=config.device, dtype=config.dtype,
                                             trust_remote_code=config.trust_remote_code,
                                             partial_weights=config.partial_weights))
        return model, TEACHER_FORM
    arm = scoring.trains
    student = workshop.fresh_student(settings)
    device = str(student.device)
    made = distill_items(settings, arm.variant.made, items, rows_file(workshop.out, arm.decoding).name,
                         folder=workshop.out / "runs", student=student)
    assert made is not None
    del student  # what is asked is what was saved
    wait_for_group()
    workshop.restore(Path(made["run"]), settings, arm)
    if not is_main_process():
        return None, None
    strategy = arm.variant.made
    return (load_student(str(Path(made["run"]) / "student"), device=device),
            strategy.form(strategy.plan[0]))
