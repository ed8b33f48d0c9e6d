"""What an ablation will do, before anything is done: the definition of every result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cotdistill.config import (
    DEMO,
    AblateConfig,
    AskingOptions,
    Config,
    DistillConfig,
    ElicitConfig,
    TrainingOptions,
    WalkingOptions,
)
from cotdistill.config.common import BadRows, ForeignRows
from cotdistill.config.option import options_of
from cotdistill.config.server import PREFIX
from cotdistill.data.distributions import beside
from cotdistill.data.files import file_digest
from cotdistill.data.inputs import STDIN, is_pipe
from cotdistill.data.mixture import takes_own
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import data_set_of, load_examples
from cotdistill.distilling import dev_examples
from cotdistill.errors import DataError, UsageError
from cotdistill.grid.arms import GREEDY, Arm
from cotdistill.grid.attributions import scores_file
from cotdistill.grid.axes import BUDGETED, Setting, Swept, swept_values, varied
from cotdistill.grid.rows import rows_file
from cotdistill.grid.sets import QuestionSet, question_sets
from cotdistill.grid.tasks import evaluation_settings, given_options
from cotdistill.run_key import student_digest
from cotdistill.strategies.studies import Study
from cotdistill.students.places import demo_model
from cotdistill.teachers.plugin import registered_teacher
from cotdistill.teachers.recorded import RECORDED, ROWS
from cotdistill.training.recipes import resolve_training

Resolved = tuple[AblateConfig, dict[str, str]]  # the configuration, and {option: where its value comes from}


@dataclass(frozen=True)
class Plan:
    """`train`: question rows to elicit on (None: rows are given, in the file `given`). `teacher`: who answers the
    sets, and elicits; None: no teacher is named."""

    config: AblateConfig
    study: Study | None
    arms: list[Arm]
    base: Arm
    given: str | None
    train: str | None
    teacher: str | None
    out: Path
    sets: tuple[QuestionSet, ...]

    @cached_property
    def decodings(self) -> list[str]:
        """Teacher decodings of the arms."""
        return list(dict.fromkeys(arm.decoding for arm in self.arms)) or [GREEDY]

    @cached_property
    def given_items(self) -> list[Item]:
        """The rows that were given, read once: stdin cannot be read again."""
        assert self.given is not None
        return read_items(self.given, self.config.limit, bad=self.config)

    @cached_property
    def taught(self) -> list[Arm]:
        """The arms that learn the teacher's distributions."""
        return [arm for arm in self.arms if self.training(arm)[0].kd is not None]

    @property
    def taught_own(self) -> list[Arm]:
        """Those of them that learn any of the grid's own rows, and not only files that are mixed in."""
        return [arm for arm in self.taught if takes_own(self.training(arm)[0].mix)]

    @cached_property
    def dev(self) -> list[Example] | None:
        """The rows that choose each cell's checkpoint."""
        return dev_examples(self.distilled(self.base, 0, 1))

    @property
    def attributed_teacher(self) -> str | None:
        """The teacher, where its gradients say which words are key."""
        return self.teacher if self.config.key_from == "teacher" else None

    def training(self, arm: Arm) -> Resolved:
        """How an arm is trained: what was given, what the arm varies, defaults for its student. How long it is trained
        is the baseline's business, as all are compared with it, unless the arm varies that."""
        config, reasons = self._resolved(arm)
        if not any(name in BUDGETED for name, _ in arm.training):
            base = self._resolved(self.base)[0]
            config = config.model_copy(update={name: getattr(base, name) for name in BUDGETED})
        if not arm.can_be_taught:
            config = config.model_copy(update={"kd": None})
        return config, reasons

    def _resolved(self, arm: Arm) -> Resolved:
        key = (arm.student, arm.training)
        if key not in self._training:
            self._training[key] = resolve_training(varied(self.config, arm.training), arm.student)
        return self._training[key]

    @cached_property
    def _training(self) -> dict[tuple[str, Setting], Resolved]:
        return {}

    def distilled(self, arm: Arm, seed: int, steps: int, swept: Swept = ()) -> DistillConfig:
        """How a cell is distilled: the configuration that `distill` would take."""
        config, _ = self.training(arm)
        needs = arm.variant.made.needs_scores
        scores = None if needs in (None, "tfidf") else scores_file(self.out, needs, arm.decoding, arm.student)
        given = {
            **given_options(config, TrainingOptions),
            **given_options(config, Config),
            **swept_values(swept),
            "steps": steps,
            "seed": seed,
            "track": (),  # cells are told of when they are done (`tracking`)
            **({"mix": ()} if arm.control else {}),  # its rows are mixed before the control changes them
            "limit": None,
            "epochs": None,
            "kd_file": beside(rows_file(self.out, arm.decoding)) if config.kd and takes_own(config.mix) else None,
        }
        if arm.student != DEMO and config.quantize is None:
            # An adapter alone is small.
            given.setdefault("merge_lora", not config.lora or config.keep_adapter)
        return DistillConfig(
            strategy=arm.variant.strategy,
            param={k: str(v) for k, v in arm.variant.params.items()},
            scores=scores,
            student=arm.student,
            dev=config.dev,
            map=config.map,
            teacher=None if config.on_policy is None else self.teacher,
            **given,
        )

    def elicited(self, decoding: str, path: Path) -> ElicitConfig:
        """How the rows of one decoding are elicited: unless told otherwise, the teacher explains the gold answer."""
        kinds = {kind for arm in self.arms for kind, _ in arm.variant.made.needs()}
        given = {
            **given_options(self.config, Config),
            **given_options(self.config, ForeignRows),
            **given_options(self.config, BadRows),
            **given_options(self.config.elicit, AskingOptions),
        }
        return ElicitConfig(
            **{
                **{name: value for name, value in given.items() if name != "seed" and value is not None},
                "teacher": self.teacher or DEMO,
                "data": self.train or DEMO,
                "decode": decoding,
                "out": path,
                "counterfactual": "counterfactual" in kinds,
            }
        )

    def answering(self, chosen: QuestionSet, folder: Path) -> ElicitConfig:
        """How the teacher answers one set: greedily, without a hint."""
        return self.elicited(GREEDY, folder / f"{chosen.name}.jsonl").model_copy(
            update={
                "data": chosen.spec,
                "split": chosen.split,
                "map": chosen.columns,
                "hint": "none",
                "counterfactual": False,
                "limit": None,
                "logprobs": None,
            }
        )

    def asked(self, config: ElicitConfig) -> dict[str, Any]:
        """What defines a teacher's answers: how it is asked, who it is, and the questions (not where they lie)."""
        questions = load_examples(config.data, config.split, config.limit, config.data_seed, config.map, config)
        weights, plugin = self.teacher_model, registered_teacher(config.teacher)
        named = config.teacher if plugin is None else f"{config.teacher} {plugin.code}"
        return {
            "config": config.defining(),
            "teacher": named if weights is None else student_digest(weights),
            "questions": digest(questions),
        }

    @property
    def teacher_model(self) -> str | None:
        """The teacher's model; None where the teacher is a server, recordings or rows."""
        if self.teacher == DEMO:
            return str(demo_model("teacher"))
        elsewhere = (
            self.teacher in (None, ROWS)
            or str(self.teacher).startswith((RECORDED, PREFIX))
            or registered_teacher(str(self.teacher)) is not None
        )
        return None if elsewhere else self.teacher

    def evaluation(self, sets: Sequence[QuestionSet]) -> dict[str, Any]:
        """What defines an evaluation."""
        forced = self.config.evaluate.rationales
        return {
            "sets": {chosen.name: digest(chosen.examples()) for chosen in sets},
            "rationales": file_digest(Path(forced)) if forced else None,
            "settings": evaluation_settings(self.config).model_dump(
                mode="json", include={name for name, one in options_of(WalkingOptions).items() if one.key}
            ),
            **({"think_budgets": budgets} if (budgets := sorted({*self.config.evaluate.think_budgets})) else {}),
        }


def plan_of(config: AblateConfig, study: Study | None, made: list[Arm], base: Arm, rows: str | None) -> Plan:
    """The plan of a resolved configuration; by default the embedded world and its teacher."""
    if rows not in (None, STDIN) and not os.path.exists(str(rows)):
        raise DataError.at(str(rows), None, "no such file", "check the path")
    if config.train is not None and is_pipe(config.train):
        raise UsageError(f"--train {config.train}: is read more than once, so it cannot be a pipe; save it to a file")
    train = config.train or (DEMO if rows is None else None)
    data_set = data_set_of(train) if train else None
    teacher = config.teacher or (data_set.teacher if data_set else None)
    if rows is None and teacher is None:
        raise UsageError("ablate needs a teacher to elicit rationales: give --teacher, or elicited ROWS")
    out = config.out or Path("runs") / (f"ablation-{config.study}" if config.study else "ablation")
    return Plan(
        config,
        study,
        made,
        base,
        rows,
        train,
        teacher,
        out,
        tuple(question_sets(config.data, train, config.split, config.data_seed, config.map, config.apart())),
    )
