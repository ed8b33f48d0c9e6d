"""What a grid refuses before anything is elicited, loaded or trained: every cell would fail on it, hours later."""

from __future__ import annotations

from cotdistill.answers.judging import judge_by
from cotdistill.data.mixture import mixed
from cotdistill.data.rows import read_items
from cotdistill.eliciting import resolve
from cotdistill.errors import CotdistillError, DataError, UsageError
from cotdistill.evaluation.metrics import options
from cotdistill.grid.arms import base_students
from cotdistill.grid.attributions import scorings
from cotdistill.grid.distributions import check_distributions
from cotdistill.grid.executors import together
from cotdistill.grid.plan import Plan
from cotdistill.grid.preparation import given_rows, used_rows
from cotdistill.grid.rows import rows_file
from cotdistill.grid.starts import check_starts
from cotdistill.strategies.candidates import candidates
from cotdistill.strategies.join import join
from cotdistill.students.devices import device_of
from cotdistill.students.load import check_student
from cotdistill.training.accelerators import check_trackers
from cotdistill.training.attribution import check_method
from cotdistill.training.lora import check_kept
from cotdistill.training.on_policy import check_on_policy
from cotdistill.training.sharding import check_parallel


def check_models(plan: Plan) -> None:
    """Complain about a student, teacher or device that is not there, or that cannot do what is asked of it."""
    device_of(plan.config.device)
    check_trackers(plan.config.track)
    for arm in plan.arms:
        distilled = plan.distilled(arm, 0, 1)
        check_parallel(distilled)
        check_kept(distilled)
        check_on_policy(distilled, arm.variant.made, together(plan.config.gpus_per_cell))
    if plan.config.parallel == "fsdp" and together(plan.config.gpus_per_cell) == 1:
        raise UsageError("--parallel fsdp changes nothing without --gpus-per-cell of at least 2")
    for decoding in plan.decodings if plan.given is None else ():
        resolve(plan.elicited(decoding, rows_file(plan.out, decoding)))
    check_distributions(plan)
    scored = scorings(plan.arms)
    if scored and plan.config.key_from == "teacher" and plan.teacher_model is None:
        raise UsageError("--key-from teacher reads gradients; name a --teacher that is a local or hub model")
    for scoring in scored:
        check_method(scoring.by)
    check_starts(plan)
    for name in (*base_students(plan.config.student), *([plan.teacher_model] if plan.teacher_model else [])):
        check_student(name, plan.config.trust_remote_code, plan.config.partial_weights)


def check_questions(plan: Plan) -> None:
    """Complain about questions and rationales of the evaluation, and dev rows, that cannot be read or judged."""
    evaluated = plan.config.evaluate
    judge_by(evaluated.extractor)
    if evaluated.rationales is not None:
        read_items(evaluated.rationales, allow_partial=True)
    for chosen in plan.sets:
        for example in chosen.examples():
            if evaluated.score == "choices" and options(example.choices, example.kind_of_answer) is None:
                raise DataError(f"{chosen.spec}: row {example.id!r} has no choices to score; use --score walk")
    if plan.config.dev is not None:
        assert plan.dev is not None  # read


def check_rows(plan: Plan) -> None:
    """Complain, for all strategies of the grid, about given rows that they cannot use."""
    if plan.given is None:
        return  # rows are elicited as the strategies need them
    wrong: dict[str, CotdistillError] = {}
    for arm in plan.arms:
        try:
            join(plan.given_items, arm.variant.made)
            options = plan.training(arm)[0]
            candidates(mixed(plan.given_items, options.mix, options.data_seed), arm.variant.made, options.select)
        except CotdistillError as error:
            wrong.setdefault(str(error), error)
    if wrong:
        raise type(next(iter(wrong.values())))("; ".join(wrong))
    used_rows(plan, {decoding: given_rows(plan, decoding) for decoding in plan.decodings})
