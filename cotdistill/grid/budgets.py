"""Fair budgets: how many optimizer steps each arm gets, so that one quantity is equal for all.

examples         every arm passes over its rows equally often (a smaller share of the rows: fewer steps)
steps            every arm makes the same number of optimizer steps
learned-tokens   every arm is scored on as many target tokens as the baseline
flops            every arm computes as many input positions x parameters as the baseline (attention not counted)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from cotdistill.config import AblateConfig
from cotdistill.grid.arms import Arm

EPOCHS = 10.0  # SCOTT's, where neither --steps nor --epochs is given


@dataclass(frozen=True)
class Load:
    """What one example of an arm weighs: scored tokens, input positions, and the student's parameters."""

    learned: float
    inputs: float
    parameters: int

    def of(self, budget: str) -> float:
        """In the budget's own unit."""
        return self.learned if budget == "learned-tokens" else self.inputs * self.parameters


def nominal_steps(config: AblateConfig, samples: int) -> int:
    """`--steps`, or the steps of `--epochs` over all rows."""
    return config.steps or max(1, ceil((config.epochs or EPOCHS) * samples / config.batch_size))


def budget_steps(config: AblateConfig, arms: Sequence[Arm], base: Arm, samples: Mapping[str, int],
                 loads: Mapping[str, Load]) -> dict[str, int]:
    """{label: steps}. `samples`: examples of each arm; `loads`: measured, where the budget is in tokens or FLOPs.

    An arm with a share of the rows is held against the baseline with all rows.
    """
    nominal = nominal_steps(config, samples[base.label])
    if config.budget == "steps":
        return dict.fromkeys(samples, nominal)
    if config.budget == "examples":
        return {label: max(1, ceil(nominal * count / samples[base.label])) for label, count in samples.items()}
    whole = nominal * loads[base.label].of(config.budget)
    return {arm.label: max(1, round(whole / loads[arm.label].of(config.budget))) for arm in arms}


def needs_loads(config: AblateConfig) -> bool:
    """Whether examples must be tokenised before steps are known."""
    return config.budget in ("learned-tokens", "flops")
