"""What one worker keeps warm between cells, and the tasks it can be given.

Shared by all cells of a worker: the base student with its start-up tests, its tokenised texts, the elicited rows,
the question sets.
"""

from __future__ import annotations

import copy
import time
from functools import cache
from pathlib import Path
from typing import Any

from cotdistill import console
from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.data.files import file_digest
from cotdistill.data.records import Item, digest
from cotdistill.data.runcard import read_card
from cotdistill.distill import device_of, distill_items, encoded
from cotdistill.elicit import elicit
from cotdistill.evaluate import evaluate_set
from cotdistill.evaluation.metrics import figures
from cotdistill.grid.arms import Arm
from cotdistill.grid.cells import Cell, Record
from cotdistill.grid.references import teacher_predictions, untrained_card, write_predictions
from cotdistill.grid.rows import Rows, mean_words, read_rows, rows_file, training_rows
from cotdistill.grid.sets import QuestionSet
from cotdistill.strategies.grids import UNTRAINED
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import load_plugin
from cotdistill.students.families import Student, load_student

# Of what evaluate finds, what follows from the stored predictions alone: reports and verify stand on it.
RECOMPUTED = ("n", "accuracy", "interval", "right", "wrong", "unparsed", "unfinished", "generated_per_question",
              "forwarded_per_question", "by_task", "conflict", "follows_cue", "n_conflict", "steps_true")
FLOPS_TRAINED = 6  # a token and parameter: forward 2, backward 4 (Kaplan et al. 2020, arXiv 2001.08361)
FLOPS_WALKED = 2


class Workshop:
    """One worker's models, rows and sets. Everything it makes lies under `out`."""

    def __init__(self, config: AblateConfig, out: Path, quiet: bool = True) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        if quiet:
            console.silence()
        for plugin in config.plugin:
            load_plugin(plugin)
        self.config, self.out = config, out
        self.student = cache(self._base)
        self.rows = cache(self._rows)
        self.training_rows = cache(self._training_rows)

    def fresh_student(self, name: str) -> Student:
        """An untrained student; tokenised texts and start-up tests are shared with the others of its name."""
        student = copy.copy(self.student(name))
        student.model = copy.deepcopy(student.model)
        return student

    def items(self, arm: Arm) -> list[Item]:
        """What an arm trains on."""
        return self.training_rows(arm.decoding, arm.control, arm.size)

    def settings(self, arm: Arm, seed: int, lr: float, steps: int) -> DistillConfig:
        """How a cell is distilled."""
        return distill_settings(self.config, self.out, arm, seed, lr, steps)

    def _base(self, name: str) -> Student:
        student = load_student(name, device=device_of(self.config.device),
                               trust_remote_code=self.config.trust_remote_code)
        assert student.can_pack is not None
        assert student.head_is_linear is not None  # both are tried here once, for all copies
        return student

    def _rows(self, decodings: tuple[str, ...]) -> Rows:
        return read_rows(self.out, decodings)

    def _training_rows(self, decoding: str, control: Any, size: float) -> list[Item]:
        arm = Arm(UNTRAINED, decoding=decoding, control=control, size=size)
        return training_rows(self.rows((decoding,)), arm, self.config.data_seed)


def distill_settings(config: AblateConfig, out: Path, arm: Arm, seed: int, lr: float, steps: int) -> DistillConfig:
    """The configuration by which a cell is distilled, the same that `distill` would take."""
    needs = arm.variant.made.needs_scores
    scores = None if needs in (None, "tfidf") else scores_file(out, needs, arm.decoding, arm.student)
    return DistillConfig(
        strategy=arm.variant.strategy, param={k: str(v) for k, v in arm.variant.params.items()}, scores=scores,
        student=arm.student, steps=steps, batch_size=config.batch_size, lr=lr, seed=seed, data_seed=config.data_seed,
        device=config.device, dtype=config.dtype, plugin=config.plugin, trust_remote_code=config.trust_remote_code)


def scores_file(out: Path, by: str, decoding: str, student: str) -> Path:
    """The sidecar with one score a word, by one attribution of one student on the rows of one decoding."""
    return out / "scores" / f"{by}-{decoding}-{Path(student).name}.jsonl"


def elicit_rows(workshop: Workshop, config: ElicitConfig) -> str:
    """Elicit the rows of one decoding into its file; resumes."""
    assert config.out is not None
    if not config.out.exists():
        elicit(config)
    return str(config.out)


def run_cell(workshop: Workshop, cell: Cell, sets: tuple[QuestionSet, ...]) -> tuple[Record, dict[str, float]]:
    """Train and evaluate one cell: its record, and measured seconds apart from it."""
    began = time.perf_counter()
    items = workshop.items(cell.arm)
    student = workshop.fresh_student(cell.arm.student)
    made = distill_items(workshop.settings(cell.arm, cell.seed, cell.lr, cell.steps), cell.arm.variant.made, items,
                         rows_file(workshop.out, cell.arm.decoding).name, folder=workshop.out / "runs",
                         student=student)
    assert made is not None
    run, trained = Path(made["run"]), time.perf_counter()
    card = read_card(run)
    # A run that was complete already left the student untouched: its weights are read then.
    ready = student if card.trained["steps"] and getattr(student, "trained", True) else None
    asked = EvaluateConfig(device=workshop.config.device, data_seed=workshop.config.data_seed)
    found = {chosen.name: evaluate_set(asked, run, card, chosen.name, chosen.examples(), ready) for chosen in sets}
    seconds = {"train": trained - began, "evaluate": time.perf_counter() - trained}
    return cell_record(workshop, cell, items, made, card, found), seconds
