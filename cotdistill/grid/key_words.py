"""Scores of key words in a grid: which sidecars are missing, what defines each, and which cells wait for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.data.files import json_digest
from cotdistill.data.records import digest
from cotdistill.grid.arms import Arm
from cotdistill.grid.attributions import Scoring, score_rows, scorings
from cotdistill.grid.budgets import Taught, needs_loads, steps_of, taught
from cotdistill.grid.cells import CellStore, run_folder
from cotdistill.grid.executors import Outcome, Task
from cotdistill.grid.keeping import drop_student, kept
from cotdistill.grid.plan import Plan
from cotdistill.grid.preparation import is_that_file
from cotdistill.grid.rows import GridRows, rows_of_arm
from cotdistill.run_key import definition


class KeyWordScores:
    """The sidecars that the arms of a grid read; one with another definition is removed.

    `taught`: {label: how much the arm trains on}.
    """

    def __init__(self, plan: Plan, store: CellStore, rows: GridRows, taught: Mapping[str, Taught]) -> None:
        self.plan, self.store, self.rows, self.taught = plan, store, rows, taught
        self.missing: list[Scoring] = []
        for scoring in scorings(plan.arms):
            path = scoring.file(plan.out)
            if not is_that_file(path, store.finished(json_digest(self.definition(scoring)))):
                path.unlink(missing_ok=True)
                self.missing.append(scoring)

    def tasks(self) -> list[Task]:
        """What a worker does for each missing sidecar."""
        teacher = self.plan.attributed_teacher
        return [
            Task(scoring, score_rows, (scoring, self.settings(scoring), teacher), together=True)
            for scoring in self.missing
        ]

    def settings(self, scoring: Scoring) -> DistillConfig:
        """How the student is trained that is attributed: as the cell of the same arm, where no token must be counted
        to know its steps."""
        plan = self.plan
        config, _ = plan.training(scoring.trains)
        base = plan.training(plan.base)[0]
        budget = "steps" if needs_loads(config.budget) else config.budget
        own = taught(self.rows, scoring.trains, plan.training(scoring.trains)[0], plan.config.data_seed)
        steps = steps_of(budget, config, base, own, self.taught[plan.base.label], self.taught.values())
        return plan.distilled(scoring.trains, plan.config.seeds[0], steps)

    def definition(self, scoring: Scoring) -> dict[str, Any]:
        """What makes a sidecar: the very run that is attributed."""
        arm = scoring.trains
        rows = digest(rows_of_arm(self.rows, arm, self.plan.config.data_seed))
        return {
            "by": scoring.by,
            "teacher": self.plan.attributed_teacher,
            "asked": definition(self.settings(scoring), arm.variant.made, rows, self.plan.dev),
        }

    def done(self, outcome: Outcome) -> None:
        """An attribution ended, well or not: its readers wait no longer."""
        scoring: Scoring = outcome.about
        self.missing.remove(scoring)
        if outcome.error is None:
            self.store.put(f"scores/{scoring.file(self.plan.out).name}", self.definition(scoring), outcome.value[0])

    def blocker(self, arm: Arm, seed: int) -> Scoring | None:
        """The scores that are being made, where a cell reads them or is the very run that they come from."""
        first = seed == self.plan.config.seeds[0]
        for scoring in self.missing:
            if scoring.read_by(arm) or (first and arm.label == scoring.trains.label):
                return scoring
        return None

    def drop_students(self, compared: Collection[Path]) -> None:
        """Remove students that were trained only for the scores; `compared`: runs that are cells, too."""
        for scoring in scorings(self.plan.arms):
            run = run_folder(self.plan.out, scoring.trains, self.definition(scoring)["asked"])
            if kept(self.plan.config.keep_students, self.settings(scoring)) != "all" and run not in compared:
                drop_student(run)
