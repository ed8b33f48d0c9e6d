"""Fair budgets: how many optimizer steps each arm gets, so that one quantity is equal for all.

examples         every arm is shown each of its questions equally often, whether it has one chain or several: two
                 chains per question are no more training than one (a smaller share of the rows: fewer steps)
steps            every arm makes the same number of optimizer steps
learned-tokens   every arm is scored on as many target tokens as the baseline
flops            every arm computes as many input positions x parameters as the baseline (attention not counted)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True)
class Taught:
    """What an arm trains on: questions, and the examples they make (one per chain, or pair of chains)."""

    questions: int
    examples: int


def nominal_steps(config: AblateConfig, base: Taught, arms: Iterable[Taught]) -> int:
    """`--steps`, or as many as show the baseline's questions in `--epochs` passes.

    A pass takes every example of the arm with the most chains per question, so that no arm sees its own less often.
    """
    if config.steps:
        return config.steps
    most = max((base, *arms), key=lambda one: one.examples / one.questions)
    examples = base.questions * most.examples / most.questions
    return max(1, ceil((config.epochs or EPOCHS) * examples / config.batch_size))


def budget_steps(config: AblateConfig, arms: Sequence[Arm], base: Arm, rows: Mapping[str, Taught],
                 loads: Mapping[str, Load]) -> dict[str, int]:
    """{label: steps}. `rows`: of each arm; `loads`: measured, where the budget is in tokens or FLOPs.

    An arm with a share of the rows is held against the baseline with all rows.
    """
    nominal = nominal_steps(config, rows[base.label], rows.values())
    if config.budget == "steps":
        return dict.fromkeys(rows, nominal)
    if config.budget == "examples":
        whole = rows[base.label].questions
        return {label: max(1, ceil(nominal * one.questions / whole)) for label, one in rows.items()}
    total = nominal * loads[base.label].of(config.budget)
    return {arm.label: max(1, round(total / loads[arm.label].of(config.budget))) for arm in arms}


def needs_loads(config: AblateConfig) -> bool:
    """Whether examples must be tokenised before steps are known."""
    return config.budget in ("learned-tokens", "flops")
