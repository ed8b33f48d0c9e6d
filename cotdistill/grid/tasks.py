"""What one worker keeps warm between cells, and the tasks it can be given.

Shared by all cells of a worker: the base student with its start-up tests, its tokenised texts, the elicited rows,
the question sets.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cotdistill.config import (
    AblateConfig,
    Config,
    DistillConfig,
    Dtype,
    ElicitConfig,
    EvaluateConfig,
    Options,
    WalkingOptions,
)
from cotdistill.console import is_main_process
from cotdistill.data.distributions import beside
from cotdistill.data.files import JsonObject, file_digest, remove, writing
from cotdistill.data.mixture import mixed
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import read_card
from cotdistill.distilling import distill_items, fresh_student
from cotdistill.eliciting import elicit
from cotdistill.evaluating import by_budget, examine
from cotdistill.evaluation.inputs import Subject
from cotdistill.evaluation.stored import predictions_name, set_metrics
from cotdistill.grid.arms import Arm
from cotdistill.grid.axes import Setting
from cotdistill.grid.budgets import Load
from cotdistill.grid.cells import Cell
from cotdistill.grid.costs import costs
from cotdistill.grid.digests import weigh
from cotdistill.grid.keeping import drop_student
from cotdistill.grid.references import teacher_predictions, untrained_card, write_predictions
from cotdistill.grid.rows import GridRows, mean_words, read_rows, rows_file, rows_of
from cotdistill.grid.sets import QuestionSet
from cotdistill.plugins.files import load_plugin
from cotdistill.strategies.grids import UNTRAINED
from cotdistill.strategies.join import join
from cotdistill.students.encode import EncodedSet
from cotdistill.students.load import Bits, load_configured
from cotdistill.students.student import Student
from cotdistill.training.footprint import teacher_parameters
from cotdistill.training.memory import release_memory
from cotdistill.training.objective import can_pack, head_is_linear
from cotdistill.training.process_group import several_processes, wait_for_group
from cotdistill.training.selection import selected
from cotdistill.training.training_set import TrainingRows

Seconds = dict[str, float]
Base = tuple[str, bool, Bits | None]  # student, chat, quantize
Loaded = tuple[Base, Path | None]  # and the run whose student it is


class WorkerState:
    """One worker's models, rows and sets. Everything it writes is under `out`."""

    def __init__(self, config: AblateConfig, out: Path) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for plugin in config.plugin:
            load_plugin(plugin)
        self.config, self.out = config, out
        self.held: dict[Loaded, Student] = {}  # one at most, before it is trained
        self.tested: dict[Base, Student] = {}  # without their models
        self.rows = cache(self._rows)
        self.rows_of_label = cache(self._rows_of_label)

    def student(self, settings: DistillConfig) -> Student:
        """The student before it is trained, for reading only."""
        base = (settings.student, settings.chat, settings.quantize)
        loaded = (base, settings.start)
        if loaded not in self.held:
            self.held.clear()
            release_memory()  # models are in reference cycles
            self.held[loaded] = self._base(base, settings.start)
        return self.held[loaded]

    def fresh_student(self, settings: DistillConfig) -> Student:
        """An untrained student to be trained in place.

        The loaded one is handed over, and the next one is loaded anew: a worker never has two in memory. Tokenised
        texts and start-up tests are shared by all students of the same name.
        """
        student = self.student(settings)
        self.held.clear()
        return student

    def restore(self, run: Path, settings: DistillConfig, arm: Arm, start: Cell | None = None) -> None:
        """Train the student of a finished run again where it was removed: the same training gives the same weights.

        `start`: the cell whose student it begins from; made again for this only, it goes again.
        """
        if (run / "student").is_dir():
            return
        passing = None if start is None or (start.run(self.out) / "student").is_dir() else start
        if passing is not None:
            restore_cell(self, passing)
        summary = distill_items(
            settings,
            arm.variant.made,
            self.items(arm),
            rows_file(self.out, arm.decoding).name,
            folder=self.out / "runs" / ".again",
            student=self.fresh_student(settings),
        )
        assert summary is not None
        if not is_main_process():
            return
        with writing(run):
            Path(summary["run"], "student").replace(run / "student")
        remove(Path(summary["run"]))
        if passing is not None:
            drop_student(passing.run(self.out))

    def untrained(self, settings: DistillConfig) -> Student:
        """An untrained student in the precision in which students are evaluated."""
        if settings.dtype == "float32":
            return self.student(settings)
        return load_configured(settings.student, settings, settings.chat, settings.quantize)

    def items(self, arm: Arm) -> list[Item]:
        """What an arm trains on."""
        own = self.config.rows_ == "own"
        training = arm.training if arm.control else ()
        return self.rows_of_label(arm.label if own else "", arm.decoding, arm.control, arm.size, training)

    @cached_property
    def asked(self) -> EvaluateConfig:
        """How every cell is evaluated."""
        return evaluation_settings(self.config)

    def asked_in(self, dtype: Dtype) -> EvaluateConfig:
        """How a student is evaluated that was trained in this precision."""
        return self.asked.model_copy(update={"dtype": dtype})

    @cached_property
    def rationales(self) -> list[Item]:
        """A teacher's rationales for the questions, which some probes force on the student."""
        return read_items(self.asked.rationales, allow_partial=True) if self.asked.rationales else []

    def metrics_by_set(
        self, run: Path, sets: tuple[QuestionSet, ...], asked: WalkingOptions | None = None
    ) -> dict[str, Any]:
        """Metrics of each set, recomputed from its stored predictions, with their file and its digest.

        `asked`: in which way; None: as a teacher is.
        """
        found = {}
        for chosen in sets:
            name = chosen.name if asked is None else predictions_name(asked, chosen.name)
            path = run / "predictions" / f"{name}.jsonl"
            computed = set_metrics(path, [e.id for e in chosen.examples()], self.asked.extractor)
            found[chosen.name] = {
                **computed,
                "extractor": self.asked.extractor,
                "predictions": str(path.relative_to(self.out)),
                "digest": file_digest(path),
                **({"shifted": True} if chosen.shifted else {}),
            }
        return found

    def _base(self, base: Base, start: Path | None) -> Student:
        name, chat, quantize = base
        loaded = fresh_student(
            DistillConfig(student=name, chat=chat, quantize=quantize, start=start, **given_options(self.config, Config))
        )
        if base not in self.tested:
            can_pack(loaded)
            head_is_linear(loaded)  # both are tried here once, for all that are loaded later
            self.tested[base] = copy.copy(loaded)
            self.tested[base].model = None
        student = copy.copy(self.tested[base])
        student.model = loaded.model
        return student

    def _rows(self, decodings: tuple[str, ...]) -> GridRows:
        return read_rows(self.out, decodings)

    def _rows_of_label(self, label: str, decoding: str, control: Any, size: float, training: Setting) -> list[Item]:
        return rows_of(self.rows((decoding,)), label, decoding, control, size, self.config.data_seed, training)


def given_options(held: Options, kind: type[Options]) -> dict[str, Any]:
    """The given options of one group: the others are left to the defaults of the config they go into."""
    return {name: getattr(held, name) for name in kind.model_fields if name in held.model_fields_set}


def elicit_rows(state: WorkerState, config: ElicitConfig) -> tuple[JsonObject, Seconds]:
    """Elicit the rows of one decoding into its file; resumes."""
    began = time.perf_counter()
    elicit(config)
    assert config.out is not None
    record: JsonObject = {"rows": config.out.name, "digest": file_digest(config.out)}
    if config.logprobs is not None:
        record["logprobs"] = {"k": config.logprobs, "digest": file_digest(beside(config.out))}
    return record, {"elicit": time.perf_counter() - began}


def run_cell(state: WorkerState, cell: Cell, sets: tuple[QuestionSet, ...]) -> tuple[JsonObject, Seconds]:
    """Train and evaluate one cell: its record, and the measured seconds, kept apart from it."""
    began = time.perf_counter()
    arm, items = cell.arm, state.items(cell.arm)
    student = None if cell.run(state.out).joinpath("run.json").exists() else state.fresh_student(cell.settings)
    summary = distill_items(
        cell.settings,
        arm.variant.made,
        items,
        rows_file(state.out, arm.decoding).name,
        folder=state.out / "runs",
        student=student,
        reasons=cell.reasons,
    )
    assert summary is not None
    wait_for_group()
    if several_processes() and student is None:
        state.restore(
            Path(summary["run"]), cell.settings, arm, cell.start
        )  # all train together: the first cannot do it alone
    if not is_main_process():
        return {}, {}  # only the first evaluates
    run, trained = Path(summary["run"]), time.perf_counter()
    card, asked = read_card(run), state.asked_in(cell.settings.dtype)
    pupil = _pupil(state, cell, run, student)
    del student
    thinks = cell.purpose == "compare" and not arm.is_control and arm.variant.made.answers_after_rationale
    ways = [way.model_copy(update={"probe": ()}) for way in by_budget(asked)] if thinks else []
    subject = Subject.of_run(run, card)
    for way in (asked, *ways):
        for chosen in sets:
            examine(way, subject, chosen.name, chosen.examples(), state.rationales, pupil)
    seconds = {"train": trained - began, "evaluate": time.perf_counter() - trained}
    record = {
        "cell": cell.name,
        "arm": arm.label,
        "role": "control" if arm.is_control else "strategy",
        "strategy": arm.variant.strategy,
        "params": dict(arm.variant.made.params),
        "student": arm.student,
        **({"start": arm.start.label} if arm.start else {}),
        "decoding": arm.decoding,
        "control": arm.control,
        "train_size": arm.size,
        "training": dict(arm.training),
        "seed": cell.seed,
        "lr": cell.settings.lr,
        "swept": dict(cell.swept),
        "key": cell.key,
        **costs(card, mean_words(items)),
        "sets": state.metrics_by_set(run, sets, asked),
        **({"budgets": {str(way.think_budget): state.metrics_by_set(run, sets, way) for way in ways}} if ways else {}),
        "rows_digest": card.data["digest"],
        "files": weigh(state.out, run),
    }
    return record, seconds


def restore_cell(state: WorkerState, cell: Cell) -> None:
    """Make a dropped student again, from which others begin."""
    state.restore(cell.run(state.out), cell.settings, cell.arm, cell.start)


def _pupil(state: WorkerState, cell: Cell, run: Path, trained: Student | None) -> Callable[[], Student]:
    """Gives a cell's student as `evaluate` would load it from its run, but only when it is first needed."""
    if trained is not None and cell.settings.dtype == cell.settings.saved_dtype == "float32":
        return lambda: trained  # the saved weights are these very numbers

    @cache
    def load() -> Student:
        state.restore(run, cell.settings, cell.arm, cell.start)
        return load_configured(str(run / "student"), state.asked_in(cell.settings.dtype), cell.settings.chat)

    return load


def answer_as_teacher(
    state: WorkerState, folder: Path, configs: tuple[ElicitConfig, ...], sets: tuple[QuestionSet, ...]
) -> tuple[JsonObject, Seconds]:
    """The teacher's row of the table; one configuration per set."""
    began = time.perf_counter()
    for config, chosen in zip(configs, sets, strict=True):
        predictions = teacher_predictions(config, list(chosen.examples()))
        write_predictions(
            folder / "predictions" / f"{chosen.name}.jsonl", configs[0].teacher, chosen.examples(), predictions
        )
    record = {
        "cell": "teacher",
        "arm": "teacher",
        "role": "teacher",
        "teacher": configs[0].teacher,
        "sets": state.metrics_by_set(folder, sets),
        "files": weigh(state.out, folder),
    }
    return record, {"train": 0.0, "evaluate": time.perf_counter() - began}


def answer_untrained(
    state: WorkerState, settings: DistillConfig, arm: str, sets: tuple[QuestionSet, ...]
) -> tuple[JsonObject, Seconds]:
    """The untrained student's row of the table: the base model, asked for a rationale and then for the answer."""
    began = time.perf_counter()
    student = state.untrained(settings)
    card = untrained_card(student, UNTRAINED.made, settings)
    folder = state.out / "references" / f"untrained-{card.key[:8]}"
    card.write(folder)
    asked, subject = state.asked_in(settings.dtype), Subject.of_run(folder, card)
    for chosen in sets:
        examine(asked, subject, chosen.name, chosen.examples(), state.rationales, lambda: student)
    record = {
        "cell": arm,
        "arm": arm,
        "role": "untrained",
        "strategy": UNTRAINED.strategy,
        "student": settings.student,
        "parameters": card.student["parameters"],
        "sets": state.metrics_by_set(folder, sets, asked),
        "files": weigh(state.out, folder),
    }
    return record, {"train": 0.0, "evaluate": time.perf_counter() - began}


def measure_load(state: WorkerState, arm: Arm, settings: DistillConfig) -> Load:
    """The average cost of one example of an arm, in which budgets are counted."""
    items, strategy = state.items(arm), arm.variant.made
    student = state.student(settings)
    items = selected(mixed(items, settings.mix, settings.data_seed), strategy, settings, settings.data_seed, student)
    data = TrainingRows(settings, strategy, items, student).encoded(join(items, strategy)[0])
    return load_of(settings, data, len(data.samples), student)


def load_of(settings: DistillConfig, data: EncodedSet, samples: int, student: Student) -> Load:
    """The cost of one of so many examples."""
    return Load(
        sum(data.learned_tokens().values()) / samples,
        data.input_tokens() / samples,
        student.model.num_parameters(),
        settings.on_policy or 0.0,
        teacher_parameters(settings.scored_by, settings.trust_remote_code),
    )


def evaluation_settings(config: AblateConfig) -> EvaluateConfig:
    """How every cell is evaluated."""
    given = {**given_options(config, Config), **given_options(config.evaluate, WalkingOptions)}
    return EvaluateConfig(**{**given, "limit": None}, answers=config.answers)
