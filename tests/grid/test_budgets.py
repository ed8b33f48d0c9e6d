"""Budgets: one quantity is equal for all arms."""

from __future__ import annotations

from math import ceil

import pytest

from cotdistill.config import AblateConfig
from cotdistill.grid.arms import Arm
from cotdistill.grid.budgets import Load, Taught, budget_steps, needs_loads, nominal_steps
from cotdistill.strategies.grids import Variant

WHOLE, TWICE, HALF = Arm(Variant("cot")), Arm(Variant("scott")), Arm(Variant("cot"), size=0.5)
ARMS = [WHOLE, TWICE, HALF]
TAUGHT = {WHOLE.label: Taught(100, 100), TWICE.label: Taught(100, 100), HALF.label: Taught(50, 50)}
LOADS = {WHOLE.label: Load(10, 50, 1000), TWICE.label: Load(12, 100, 1000), HALF.label: Load(10, 50, 1000)}


def steps(budget: str, **options: object) -> list[int]:
    config = AblateConfig.build(budget=budget, batch_size=10, **options)
    loads = LOADS if needs_loads(budget) else {}
    found = budget_steps(budget, {arm.label: config for arm in ARMS}, WHOLE.label, TAUGHT, loads)
    return [found[arm.label] for arm in ARMS]


def test_examples_means_equal_passes_over_the_own_rows() -> None:
    assert steps("examples", epochs=4) == [40, 40, 20]


@pytest.mark.parametrize("base", [0, 1])
def test_several_chains_per_question_do_not_make_examples_unequal(base: int) -> None:
    """Neither arm is trained more for having two chains to choose from, whichever is the baseline."""
    chains, answers = Arm(Variant("cot")), Arm(Variant("answer-only"))
    taught = {chains.label: Taught(400, 700), answers.label: Taught(400, 400)}
    arms = [chains, answers]
    configs = {arm.label: AblateConfig(batch_size=16) for arm in arms}
    found = budget_steps("examples", configs, arms[base].label, taught, {})
    assert set(found.values()) == {ceil(10 * 700 / 16)}


def test_steps_means_equal_steps_whatever_the_rows() -> None:
    assert steps("steps", epochs=4) == [40, 40, 40]
    assert steps("steps", steps=7) == [7, 7, 7]


def test_tokens_and_flops_equalise_what_they_say() -> None:
    for budget in ("learned-tokens", "flops"):
        found = steps(budget, steps=60)
        spent = [count * LOADS[arm.label].of(budget) for count, arm in zip(found, ARMS, strict=True)]
        assert max(spent) - min(spent) <= max(load.of(budget) for load in LOADS.values()) / 2
    assert steps("flops", steps=60) == [60, 30, 60]


def test_what_a_student_writes_and_its_teacher_reads_is_paid_for() -> None:
    """6 FLOPs a parameter and position, 2 more to write it, 2 of the teacher to read it."""
    plain, alone, asked = Load(10, 50, 1000), Load(10, 50, 1000, 0.5), Load(10, 50, 1000, 0.5, 3000)
    assert [load.flops for load in (plain, alone, asked)] == [300_000, 350_000, 500_000]
    arms = {name: Taught(100, 100) for name in ("plain", "alone", "asked")}
    loads = {"plain": plain, "alone": alone, "asked": asked}
    for budget, steps in (("flops", [70, 60, 42]), ("learned-tokens", [70, 70, 70]), ("steps", [70, 70, 70])):
        config = AblateConfig.build(budget=budget, steps=70, batch_size=10)
        assert list(budget_steps(budget, dict.fromkeys(arms, config), "plain", arms, loads).values()) == steps


def test_ten_passes_without_any_option() -> None:
    assert nominal_steps(AblateConfig(batch_size=16), Taught(1000, 1000), ()) == 625


@pytest.mark.parametrize("budget", ["examples", "flops"])
def test_other_batches_show_as_many_examples(budget: str) -> None:
    small, large = (AblateConfig.build(budget=budget, batch_size=size, steps=40) for size in (8, 16))
    taught = {"small": Taught(100, 100), "large": Taught(100, 100)}
    loads = {"small": Load(10, 50, 1000), "large": Load(10, 50, 1000)} if budget == "flops" else {}
    assert budget_steps(budget, {"small": small, "large": large}, "small", taught, loads) == {"small": 40, "large": 20}
    passes = {
        name: one.model_copy(update={"steps": None, "epochs": 2.0})
        for name, one in (("small", small), ("large", large))
    }
    assert budget_steps(budget, passes, "small", taught, loads) == {"small": 25, "large": 13}
