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
    ElicitConfig,
    EvaluateConfig,
    Options,
    WalkingOptions,
)
from cotdistill.console import is_main_process
from cotdistill.data.files import file_digest, json_digest, remove, writing
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, read_card
from cotdistill.distill import distill_items, encoded, fresh_student, saved_dtype
from cotdistill.elicit import elicit
from cotdistill.evaluate import evaluate_set, load_asked
from cotdistill.grid.arms import Arm
from cotdistill.grid.budgets import Load
from cotdistill.grid.cells import Cell, Record
from cotdistill.grid.digests import weigh
from cotdistill.grid.references import teacher_predictions, untrained_card, write_predictions
from cotdistill.grid.rows import Rows, mean_words, read_rows, rows_file, rows_of
from cotdistill.grid.sets import QuestionSet
from cotdistill.report.stored import set_figures
from cotdistill.run_key import student_digest
from cotdistill.strategies.grids import UNTRAINED
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import load_plugin
from cotdistill.students.devices import device_of
from cotdistill.students.families import Student
from cotdistill.students.group import several_processes, wait_for_group
from cotdistill.students.load import Bits, load_student
from cotdistill.students.memory import release_memory

FLOPS_TRAINED = 6  # a token and parameter: forward 2, backward 4 (Kaplan et al. 2020, arXiv 2001.08361)
Seconds = dict[str, float]
Base = tuple[str, bool, Bits | None]  # student, chat, quantize


class Workshop:
    """One worker's models, rows and sets. Everything it makes lies under `out`."""

    def __init__(self, config: AblateConfig, out: Path) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for plugin in config.plugin:
            load_plugin(plugin)
        self.config, self.out = config, out
        self.held: dict[Base, Student] = {}  # one at most, untrained
        self.tested: dict[Base, Student] = {}  # without their models
        self.rows = cache(self._rows)
        self.training_rows = cache(self._training_rows)

    def student(self, settings: DistillConfig) -> Student:
        """The untrained student, to be asked and not to be changed."""
        base = (settings.student, settings.chat, settings.quantize)
        if base not in self.held:
            self.held.clear()
            release_memory()  # models stand in cycles
            self.held[base] = self._base(base)
        return self.held[base]

    def fresh_student(self, settings: DistillConfig) -> Student:
        """An untrained student to be trained in place.

        The one that is held is given away, and the next is loaded again: a worker never has two in memory. Tokenised
        texts and start-up tests are shared with the others of its name.
        """
        student = self.student(settings)
        self.held.clear()
        return student

    def restore(self, run: Path, settings: DistillConfig, arm: Arm) -> None:
        """Make the student of a finished run again where it was dropped: the same training gives the same weights."""
        if (run / "student").is_dir():
            return
        made = distill_items(settings, arm.variant.made, self.items(arm), rows_file(self.out, arm.decoding).name,
                             folder=self.out / "runs" / ".again", student=self.fresh_student(settings))
        assert made is not None
        if not is_main_process():
            return
        with writing(run):
            Path(made["run"], "student").replace(run / "student")
        remove(Path(made["run"]))

    def untrained(self, settings: DistillConfig) -> Student:
        """An untrained student in the precision in which students are evaluated."""
        if settings.dtype == "float32":
            return self.student(settings)
        return load_student(settings.student, settings.dtype, device_of(settings.device), settings.trust_remote_code,
                            settings.quantize, settings.chat, settings.partial_weights)

    def items(self, arm: Arm) -> list[Item]:
        """What an arm trains on."""
        own = self.config.rows_ == "own"
        return self.training_rows(arm.label if own else "", arm.decoding, arm.control, arm.size)

    @cached_property
    def asked(self) -> EvaluateConfig:
        """How every cell is evaluated."""
        return evaluation_settings(self.config)

    def asked_of(self, settings: DistillConfig) -> EvaluateConfig:
        """How a student is evaluated that was trained so."""
        return self.asked.model_copy(update={"dtype": settings.dtype})

    @cached_property
    def rationales(self) -> list[Item]:
        """A teacher's rationales for the questions, which some probes force on the student."""
        return read_items(self.asked.rationales, allow_partial=True) if self.asked.rationales else []

    def figures(self, run: Path, sets: tuple[QuestionSet, ...]) -> dict[str, Any]:
        """Figures of each set, recomputed from its stored predictions, with the file they stand in and its digest."""
        found = {}
        for chosen in sets:
            path = run / "predictions" / f"{chosen.name}.jsonl"
            computed = set_figures(path, [e.id for e in chosen.examples()], self.asked.extractor)
            found[chosen.name] = {**computed, "extractor": self.asked.extractor,
                                  "predictions": str(path.relative_to(self.out)), "digest": file_digest(path)}
        return found

    def _base(self, base: Base) -> Student:
        name, chat, quantize = base
        loaded = fresh_student(DistillConfig(student=name, chat=chat, quantize=quantize,
                                             **given_options(self.config, Config)))
        if base not in self.tested:
            assert loaded.can_pack is not None
            assert loaded.head_is_linear is not None  # both are tried here once, for all that are loaded later
            self.tested[base] = copy.copy(loaded)
            self.tested[base].model = None
        student = copy.copy(self.tested[base])
        student.model = loaded.model
        return student

    def _rows(self, decodings: tuple[str, ...]) -> Rows:
        return read_rows(self.out, decodings)

    def _training_rows(self, label: str, decoding: str, control: Any, size: float) -> list[Item]:
        return rows_of(self.rows((decoding,)), label, decoding, control, size, self.config.data_seed)


def given_options(held: Options, kind: type[Options]) -> dict[str, Any]:
    """What was given of one group of options: what was not is left to the defaults of the config it goes into."""
    return {name: getattr(held, name) for name in kind.model_fields if name in held.model_fields_set}


def scores_file(out: Path, by: str, decoding: str, student: str) -> Path:
    """The sidecar with one score a word, by one attribution of one student on the rows of one decoding.

    Students are told apart by their digest: two folders may have one name.
    """
    return out / "scores" / f"{by}-{decoding}-{Path(student).name}-{json_digest(student_digest(student))[:8]}.jsonl"


def elicit_rows(workshop: Workshop, config: ElicitConfig) -> tuple[Record, Seconds]:
    """Elicit the rows of one decoding into its file; resumes."""
    began = time.perf_counter()
    elicit(config)
    assert config.out is not None
    return {"rows": config.out.name, "digest": file_digest(config.out)}, {"elicit": time.perf_counter() - began}


def run_cell(workshop: Workshop, cell: Cell, sets: tuple[QuestionSet, ...]) -> tuple[Record, Seconds]:
    """Train and evaluate one cell: its record, and measured seconds apart from it."""
    began = time.perf_counter()
    arm, items = cell.arm, workshop.items(cell.arm)
    student = None if cell.run(workshop.out).joinpath("run.json").exists() else workshop.fresh_student(cell.settings)
    made = distill_items(cell.settings, arm.variant.made, items, rows_file(workshop.out, arm.decoding).name,
                         folder=workshop.out / "runs", student=student, reasons=cell.reasons)
    assert made is not None
    wait_for_group()
    if several_processes() and student is None:
        workshop.restore(Path(made["run"]), cell.settings, arm)  # what all train together cannot wait for the first
    if not is_main_process():
        return {}, {}  # the first evaluates
    run, trained = Path(made["run"]), time.perf_counter()
    card, asked = read_card(run), workshop.asked_of(cell.settings)
    pupil = _pupil(workshop, cell, run, asked, student)
    del student
    for chosen in sets:
        evaluate_set(asked, run, card, chosen.name, chosen.examples(), pupil, workshop.rationales)
    seconds = {"train": trained - began, "evaluate": time.perf_counter() - trained}
    record = {"cell": cell.name, "arm": arm.label, "role": "control" if arm.is_control else "strategy",
              "strategy": arm.variant.strategy, "params": dict(arm.variant.made.params), "student": arm.student,
              "decoding": arm.decoding, "control": arm.control, "train_size": arm.size, "training": dict(arm.training),
              "seed": cell.seed, "lr": cell.settings.lr, "swept": dict(cell.swept), "key": cell.key,
              **costs(card, mean_words(items)), "sets": workshop.figures(run, sets),
              "rows_digest": card.data["digest"], "files": weigh(workshop.out, run)}
    return record, seconds


def _pupil(workshop: Workshop, cell: Cell, run: Path, asked: EvaluateConfig,
           trained: Student | None) -> Callable[[], Student]:
    """Gives the student of a cell as `evaluate` would load it from its run, when it is first asked something."""
    if trained is not None and cell.settings.dtype == saved_dtype(cell.settings) == "float32":
        return lambda: trained  # what was saved are these very numbers

    @cache
    def load() -> Student:
        workshop.restore(run, cell.settings, cell.arm)
        return load_asked(asked, str(run / "student"), cell.settings.chat)

    return load


def answer_as_teacher(workshop: Workshop, folder: Path, configs: tuple[ElicitConfig, ...],
                      sets: tuple[QuestionSet, ...]) -> tuple[Record, Seconds]:
    """The teacher's row of the table; one configuration a set."""
    began = time.perf_counter()
    for config, chosen in zip(configs, sets, strict=True):
        predictions = teacher_predictions(config, list(chosen.examples()))
        write_predictions(folder / "predictions" / f"{chosen.name}.jsonl", configs[0].teacher, chosen.examples(),
                          predictions)
    record = {"cell": "teacher", "arm": "teacher", "role": "teacher", "teacher": configs[0].teacher,
              "sets": workshop.figures(folder, sets), "files": weigh(workshop.out, folder)}
    return record, {"train": 0.0, "evaluate": time.perf_counter() - began}


def answer_untrained(workshop: Workshop, settings: DistillConfig, arm: str,
                     sets: tuple[QuestionSet, ...]) -> tuple[Record, Seconds]:
    """The untrained student's row of the table: the base model, asked for a rationale and then for the answer."""
    began = time.perf_counter()
    student = workshop.untrained(settings)
    card = untrained_card(student, UNTRAINED.made, settings)
    folder = workshop.out / "references" / f"untrained-{card.key[:8]}"
    card.write(folder)
    for chosen in sets:
        evaluate_set(workshop.asked_of(settings), folder, card, chosen.name, chosen.examples(), lambda: student,
                     workshop.rationales)
    record = {"cell": arm, "arm": arm, "role": "untrained", "strategy": UNTRAINED.strategy, "student": settings.student,
              "parameters": card.student["parameters"], "sets": workshop.figures(folder, sets),
              "files": weigh(workshop.out, folder)}
    return record, {"train": 0.0, "evaluate": time.perf_counter() - began}


def measure(workshop: Workshop, arm: Arm, settings: DistillConfig) -> Load:
    """What one example of an arm weighs on average: what budgets are counted in."""
    items, strategy = workshop.items(arm), arm.variant.made
    student = workshop.student(settings)
    data = encoded(settings, strategy, items, join(items, strategy)[0], student)
    learned, samples = sum(data.learned_tokens().values()), len(data.samples)
    return Load(learned / samples, data.input_tokens() / samples, student.model.num_parameters())


def evaluation_settings(config: AblateConfig) -> EvaluateConfig:
    """How every cell is evaluated."""
    given = {**given_options(config, Config), **given_options(config.evaluate, WalkingOptions)}
    return EvaluateConfig(**{**given, "limit": None}, answers=config.answers)


def costs(card: RunCard, words: float) -> dict[str, Any]:
    """What a run was shown and what it cost, counted and not measured."""
    steps, batch = card.trained["steps"], card.config["batch_size"]
    passes = steps * batch / card.data["trained_on"]
    inputs = round(passes * card.counts["input_tokens"])
    return {"steps": steps, "rows": card.data["rows"], "examples": steps * batch,
            "learned_tokens": round(passes * sum(card.counts["learned_tokens"].values())), "input_tokens": inputs,
            "train_flops": FLOPS_TRAINED * card.student["parameters"] * inputs, "rationale_words": words,
            "parameters": card.student["parameters"], "run_key": card.key}
