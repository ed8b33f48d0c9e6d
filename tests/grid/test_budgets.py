"""Budgets: one quantity is equal for all arms."""

from __future__ import annotations

from cotdistill.config import AblateConfig
from cotdistill.grid.arms import Arm
from cotdistill.grid.budgets import Load, budget_steps, nominal_steps
from cotdistill.strategies.grids import Variant

WHOLE, TWICE, HALF = Arm(Variant("cot")), Arm(Variant("scott")), Arm(Variant("cot"), size=0.5)
ARMS = [WHOLE, TWICE, HALF]
SAMPLES = {WHOLE.label: 100, TWICE.label: 100, HALF.label: 50}
LOADS = {WHOLE.label: Load(10, 50, 1000), TWICE.label: Load(12, 100, 1000), HALF.label: Load(10, 50, 1000)}


def steps(budget: str, **options: object) -> list[int]:
    config = AblateConfig.build(budget=budget, batch_size=10, **options)
    found = budget_steps(config, ARMS, WHOLE, SAMPLES, LOADS)
    return [found[arm.label] for arm in ARMS]


def test_examples_means_equal_passes_over_the_own_rows() -> None:
    assert steps("examples", epochs=4) == [40, 40, 20]


def test_steps_means_equal_steps_whatever_the_rows() -> None:
    assert steps("steps", epochs=4) == [40, 40, 40]
    assert steps("steps", steps=7) == [7, 7, 7]


def test_tokens_and_flops_equalise_what_they_say() -> None:
    for budget in ("learned-tokens", "flops"):
        found = steps(budget, steps=60)
        spent = [count * LOADS[arm.label].of(budget) for count, arm in zip(found, ARMS, strict=True)]
        assert max(spent) - min(spent) <= max(load.of(budget) for load in LOADS.values()) / 2
    assert steps("flops", steps=60) == [60, 30, 60]


def test_ten_passes_without_any_option() -> None:
    assert nominal_steps(AblateConfig(batch_size=16), 1000) == 625
