"""The teacher's distributions in a grid: which arms learn them, from which file, and what is refused beforehand.

    DIR/rows/greedy.jsonl.logprobs.safetensors    elicited with the rows (`--logprobs K`), or a copy of what lies beside
                                                  the given rows (or of --kd-file): one for each decoding

Its digest is in the key of every cell that learns it, and `verify` weighs it as it does the rows. Files that `--mix`
takes rows from bring their own beside them, which stay where they are; their digests are in the keys, too.
"""

from __future__ import annotations

from pathlib import Path

from cotdistill.console import say
from cotdistill.data.distributions import beside, load
from cotdistill.data.files import file_digest, write_bytes
from cotdistill.data.mixture import mixed
from cotdistill.errors import UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.plan import Plan
from cotdistill.grid.rows import rows_file
from cotdistill.grid.watching import few
from cotdistill.strategies.join import join
from cotdistill.training.kd import Divergence
from cotdistill.training.teaching import (
    check_recorded,
    check_vocabulary,
    file_beside,
    files_of,
    learns_as_given,
    vocabulary_of,
)


def check_distributions(plan: Plan) -> None:
    """Complain about distributions that are not there, and arms that cannot learn them."""
    config = plan.config
    if not plan.taught:
        for name, value in (("--logprobs", config.elicit.logprobs), ("--kd-file", config.kd_file)):
            if value is not None:
                raise UsageError(f"{name} changes nothing without --kd, or --vary kd=none,kl")
        return
    if "kd_file" in {name.replace("-", "_") for name in config.vary}:
        raise UsageError(
            "--vary kd-file: the rows of a decoding have one file of distributions; name it with --kd-file"
        )
    for text in {str(plan.training(arm)[0].kd) for arm in plan.taught}:
        Divergence.parse(text)
    _check_strategies(plan)
    if plan.given is not None:
        _check_given(plan)
    else:
        _check_elicited(plan)


def distributions_file(plan: Plan) -> Path:
    """Where the distributions of given rows are."""
    assert plan.given is not None
    return plan.config.kd_file or file_beside(plan.given)


def copy_distributions(plan: Plan, decoding: str) -> None:
    """Put the distributions of given rows beside the grid's own rows, unless they are there."""
    if not plan.taught_own:
        return
    source, target = distributions_file(plan), beside(rows_file(plan.out, decoding))
    if not target.is_file() or file_digest(target) != file_digest(source):
        write_bytes(target, source.read_bytes())


def _check_strategies(plan: Plan) -> None:
    """Refuse strategies that learn no rationale in the teacher's words; say which floors do without."""
    wrong = [arm.label for arm in plan.taught if not learns_as_given(arm.variant.made)]
    if wrong:
        raise UsageError(
            f"{few(wrong, 3)}: --kd has no meaning where no rationale is learned in the teacher's own words; leave "
            "these out, or run them in a grid without --kd"
        )
    floors = [arm.label for arm in plan.arms if not arm.can_be_taught]
    if floors:
        say(f"--kd: {few(floors, 4)} have no rationale with a distribution of its own, and train without the term")


def _check_given(plan: Plan) -> None:
    if plan.config.elicit.logprobs is not None and plan.study is None:
        raise UsageError("--logprobs changes nothing where rows are given; elicit them with --logprobs K")
    for arm in plan.taught:
        options = plan.training(arm)[0]
        files = files_of(distributions_file(plan) if arm in plan.taught_own else None, options.mix)
        recorded = load(*files)
        _check_student(plan, arm, recorded.vocabulary, f"the teacher of {files[0]}")
        recorded.top(_top(plan, arm))
        rows = mixed(plan.given_items, options.mix, options.data_seed)
        check_recorded(recorded, join(rows, arm.variant.made)[0], files)


def _check_elicited(plan: Plan) -> None:
    k = plan.config.elicit.logprobs
    if plan.config.kd_file is not None:
        raise UsageError("--kd-file changes nothing where rows are elicited: they get their own with --logprobs K")
    if k is None and plan.taught_own:
        raise UsageError("--kd needs the teacher's distributions: add --logprobs K, or give rows that have them")
    for arm in plan.taught_own:
        if k is not None and (top := _top(plan, arm) or k) > k:
            raise UsageError(f"--kd-top {top}: only the {k} tokens of --logprobs are stored; raise that, or take fewer")
        if plan.teacher_model is not None:
            vocabulary = vocabulary_of(plan.teacher_model, plan.config.trust_remote_code)
            _check_student(plan, arm, vocabulary, f"the teacher {plan.teacher}")
    for arm in plan.taught:
        if files := files_of(None, plan.training(arm)[0].mix):
            recorded = load(*files).top(_top(plan, arm))
            _check_student(plan, arm, recorded.vocabulary, f"the teacher of {files[0]}")


def _check_student(plan: Plan, arm: Arm, vocabulary: str, whose: str) -> None:
    check_vocabulary(arm.student, plan.config.trust_remote_code, vocabulary, whose)


def _top(plan: Plan, arm: Arm) -> int | None:
    """The K that an arm learns, the largest of a sweep."""
    swept = [
        round(value) for name, values in plan.config.sweep.items() if name in ("kd_top", "kd-top") for value in values
    ]
    return max(swept) if swept else plan.training(arm)[0].kd_top
