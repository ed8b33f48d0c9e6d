"""The arms of an ablation: every way of making a student that is compared, before seeds are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from cotdistill.config import DEMO, AblateConfig
from cotdistill.data.controls import CONTROLS, TITLES, Control
from cotdistill.data.mixture import mixed_files
from cotdistill.errors import UsageError, did_you_mean
from cotdistill.grid.axes import KD, Setting, said, values_of
from cotdistill.grid.ways import ways
from cotdistill.strategies import grids
from cotdistill.strategies.grids import DEFAULT, FLOOR, Variant, known_params, variants
from cotdistill.strategies.studies import Study, study

GREEDY = "greedy"
START = "arm:"  # begins a --student that another arm makes
UNSAID: tuple[Control, ...] = ("swapped", "random")  # their rationales are none that the teacher gave for the question


@dataclass(frozen=True)
class Arm:
    """A strategy with its parameters, on one kind of rows, with one student.

    `decoding`: how the teacher's rationales were decoded. `control`: what was removed from the rows.
    `size`: the share of the rows. `training`: training options that are varied between arms. `matched`: those of the
    arm whose number of learned tokens it is given. `start`: the arm whose student it begins from, with the same seed;
    `student` is then what that one began from. `student`: shown only where students are compared.
    """

    variant: Variant
    student: str = DEMO
    decoding: str = GREEDY
    control: Control | None = None
    size: float = 1.0
    training: Setting = ()
    names_student: bool = False
    matched: Setting | None = None
    start: Arm | None = None

    @property
    def label(self) -> str:
        """`post-cot [swapped rationales, 10 % of the rows]`."""
        notes = [
            *([f"{self.decoding} rationales"] if self.decoding != GREEDY else []),
            *([TITLES[self.control]] if self.control else []),
            *([f"{100 * self.size:g} % of the rows"] if self.size != 1 else []),
            *said(self.training),
            *([f"as many tokens as mix {dict(self.matched)['mix']}"] if self.matched else []),
            *([self.student] if self.names_student else []),
            *([f"from {self.start.label}"] if self.start else []),
        ]
        return self.variant.label + (f" [{', '.join(notes)}]" if notes else "")

    @property
    def mixture(self) -> str | None:
        """The label of the arm whose number of learned tokens it is given."""
        return None if self.matched is None else replace(self, training=self.matched, matched=None).label

    @property
    def is_control(self) -> bool:
        """Whether it is a floor of the table and not a candidate."""
        return self.control is not None or self.variant == FLOOR

    @property
    def can_be_taught(self) -> bool:
        """Whether `--kd` has a meaning for it: a floor without the teacher's rationales trains without the term, and
        so does one of a mixture of files, as its rows are no file's any more."""
        if self.variant == FLOOR or self.control in UNSAID:
            return False
        return self.control is None or not mixed_files(values_of(self.training).get("mix", ()))

    @property
    def untaught(self) -> Arm:
        """The same without what `--vary kd...` says of it."""
        return replace(self, training=tuple(one for one in self.training if not one[0].startswith(KD)))


def arms(config: AblateConfig) -> list[Arm]:
    """All arms of a resolved configuration, without duplicates, controls last."""
    chosen = chosen_variants(config)
    several = len(base_students(config.student)) > 1
    wanted: list[tuple[Variant, Control | None]] = [(variant, None) for variant in chosen]
    if config.controls:
        wanted += [
            (FLOOR, None),
            *((variant, control) for variant in subjects(config.study, chosen) for control in CONTROLS),
        ]
    by_label: dict[str, Arm] = {}
    sizes, decodings = sorted(config.train_size, reverse=True), config.teacher_decoding or (GREEDY,)
    for student, way, size, decoding, (variant, control) in product(
        config.student, ways(config, config.vary, config.controls), sizes, decodings, wanted
    ):
        if control and (size != sizes[0] or decoding != decodings[0]):
            continue  # one floor of each kind per student and way of training it
        if not way.floors and (control or variant not in chosen):
            continue
        if way.matched and not variant.learns_rationales:
            continue  # it learns the same from every source
        if not variant.learns_rationales:
            decoding = GREEDY  # it reads none: one arm serves for all decodings
        start = _start(student, by_label) if student.startswith(START) else None
        base = student if start is None else start.student
        arm = Arm(variant, base, decoding, control, size, way.setting, several, way.matched, start)
        arm = arm if arm.can_be_taught else arm.untaught
        by_label.setdefault(arm.label, arm)
    return list(by_label.values())


def base_students(students: Sequence[str]) -> list[str]:
    """The students that no arm makes."""
    return [name for name in students if not name.startswith(START)]


def _start(student: str, made: Mapping[str, Arm]) -> Arm:
    """The arm that `arm:LABEL` names, one of those of the students before it: nothing can begin from itself."""
    label = student.removeprefix(START)
    if label not in made:
        known = ", ".join(made) or "none, as no other student is named before it"
        raise UsageError(
            f"--student {student}: no arm of that label is made before it{did_you_mean(label, made)}; there are {known}"
        )
    return made[label]


def chosen_variants(config: AblateConfig) -> list[Variant]:
    """The variants that the options ask for, without controls; parameters that no named strategy has are refused."""
    ablated = bool(
        config.rewrite
        or config.permute_tokens
        or config.mask_tokens
        or config.key_tokens
        or config.tags
        or config.placement
    )
    names = config.strategies or (() if ablated else DEFAULT)
    known = known_params(names)
    for param in config.param:
        if param not in known:
            whose = f"no strategy of --strategies ({', '.join(names)}) has it" if names else "--strategies names none"
            raise UsageError(f"--param {param}: {whose}{did_you_mean(param, known)}")
    return variants(
        names,
        config.param,
        config.permute_level if config.permute_tokens else (),
        config.mask_tokens,
        config.key_tokens,
        config.key_by,
        config.tags,
        config.placement,
        config.exclude_label,
        config.rewrite,
    )


def subjects(named: str | None, chosen: Sequence[Variant]) -> list[Variant]:
    """The variants whose rows the controls change; `named`: the study, if it is one."""
    if named:
        return [variant for variant in chosen if variant.label in study(named).controlled]
    subject = grids.ablated_variant(chosen)
    return [subject] if subject else []


def baseline(config: AblateConfig, arms: Sequence[Arm]) -> Arm:
    """The arm that all others are compared with: `--baseline LABEL` (a study names its own), else the first strategy
    of `--strategies` on all rows, else the subject of the grid."""
    if config.baseline is None:
        wanted = grids.default_baseline(chosen_variants(config), bool(config.strategies))
        return next(arm for arm in arms if arm.variant == wanted and arm.control is None)
    for arm in arms:
        if arm.label == config.baseline:
            return arm
    raise UsageError(
        f"--baseline {config.baseline}: unknown arm"
        f"{did_you_mean(config.baseline, [arm.label for arm in arms])}; choose from "
        + ", ".join(arm.label for arm in arms)
    )


def resolve_study(config: AblateConfig) -> tuple[AblateConfig, Study | None]:
    """The configuration, completed by its study where an option was not given.

    Where other strategies were given than the study's, its parameters and its baseline count as far as these have them.
    """
    if config.study is None:
        return config, None
    chosen = study(config.study)
    merged = config.with_defaults(chosen.options)
    if "param" not in config.model_fields_set:
        known = known_params(merged.strategies)
        merged = merged.model_copy(
            update={"param": {name: values for name, values in merged.param.items() if name in known}}
        )
    if config.baseline is None and all(arm.label != merged.baseline for arm in arms(merged)):
        merged = merged.model_copy(update={"baseline": None})
    return merged, chosen
