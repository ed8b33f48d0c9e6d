"""Fair budgets: how many optimizer steps each arm gets, so that one quantity is equal for all.

examples         every arm sees each of its questions equally often, whether it has one rationale or several: two
                 rationales per question are not more training than one (a smaller share of the rows: fewer steps)
steps            every arm makes the same number of optimizer steps
learned-tokens   every arm is scored on as many target tokens as the baseline
flops            every arm computes as much in training as the baseline (attention not counted): 6 FLOPs a parameter
                 and position that it learns from; of what it writes itself (--on-policy) 2 more, and 2 a parameter of
                 the teacher that reads it

What a student will write is not known beforehand and is taken to be as long as the rows' own texts; the
cells' records count what was written.

Whatever the budget, a source of a mixture alone learns as many tokens as the mixture: more text is no better text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from cotdistill.config import TrainingOptions
from cotdistill.data.records import Item
from cotdistill.grid.arms import Arm
from cotdistill.grid.rows import GridRows, learned_rows
from cotdistill.strategies.candidates import candidates, kept_count
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.join import join
from cotdistill.training.recipes import total_steps

FLOPS_TRAINED = 6  # per token and parameter: forward 2, backward 4 (Kaplan et al. 2020, arXiv 2001.08361)
FLOPS_FORWARD = 2


@dataclass(frozen=True)
class Load:
    """The cost of one example of an arm: scored tokens, input positions, and the student's parameters. `written`: the
    share of the examples that the student writes itself; `teacher`: parameters of the model that reads these."""

    learned: float
    inputs: float
    parameters: int
    written: float = 0.0
    teacher: int = 0

    @property
    def flops(self) -> float:
        """Forward and backward; what is written is forwarded once more, and by the teacher."""
        forwarded = self.written * (self.parameters + self.teacher)
        return self.inputs * (FLOPS_TRAINED * self.parameters + FLOPS_FORWARD * forwarded)

    def of(self, budget: str) -> float:
        """In the budget's own unit."""
        return self.learned if budget == "learned-tokens" else self.flops


@dataclass(frozen=True)
class Taught:
    """What an arm trains on: questions, and the examples they make (one per rationale, or pair of rationales)."""

    questions: int
    examples: int

    @classmethod
    def of(cls, items: Sequence[Item], strategy: Strategy, options: TrainingOptions) -> Taught:
        """Of a strategy's rows, mixed; of `--select` only the share counts, not yet which rows it will be."""
        samples = join(candidates(items, strategy, options.select), strategy)[0]
        questions = len({sample.id for sample in samples})
        kept = kept_count(questions, options.select, options.select_share)
        return cls(kept, round(len(samples) * kept / questions))


def taught(rows: GridRows, arm: Arm, options: TrainingOptions, seed: int) -> Taught:
    """How much an arm trains on, by its training options; `seed`: of its row choice."""
    return Taught.of(learned_rows(rows, arm, options.mix, seed), arm.variant.made, options)


def nominal_steps(options: TrainingOptions, base: Taught, arms: Iterable[Taught]) -> int:
    """`--steps`, or as many as show the baseline's questions in `--epochs` passes.

    A pass covers every example of the arm with the most rationales per question: no arm sees its own less often.
    """
    most = max((base, *arms), key=lambda load: load.examples / load.questions)
    return total_steps(options, base.questions * most.examples / most.questions)


def budget_steps(
    budget: str,
    options: Mapping[str, TrainingOptions],
    base: str,
    rows: Mapping[str, Taught],
    loads: Mapping[str, Load],
    arms: Iterable[Arm] = (),
) -> dict[str, int]:
    """{label: steps}. `options`, `rows`: of each arm, `base` among them; `loads`: measured, where tokens are counted;
    `arms`: those that are given as many tokens as another.

    An arm on a share of the rows is compared with the baseline on all rows, one with other batch sizes makes as many
    steps as show it equally many examples.
    """
    steps = {
        label: steps_of(
            budget,
            own,
            options[base],
            rows[label],
            rows[base],
            rows.values(),
            loads[base].of(budget) / loads[label].of(budget) if needs_loads(budget) else 1.0,
        )
        for label, own in options.items()
    }
    for arm in arms:
        if (mixture := arm.mixture) is not None:
            tokens = steps[mixture] * options[mixture].batch_size * loads[mixture].learned
            steps[arm.label] = max(1, round(tokens / (options[arm.label].batch_size * loads[arm.label].learned)))
    return steps


def steps_of(
    budget: str,
    options: TrainingOptions,
    base: TrainingOptions,
    taught: Taught,
    of_base: Taught,
    everyone: Iterable[Taught],
    per_example: float = 1.0,
) -> int:
    """Steps of one arm. `per_example`: the baseline's load per example over the arm's."""
    nominal: float = nominal_steps(options, of_base, everyone)
    if budget == "steps":
        return int(nominal)
    if options.steps == base.steps and options.steps:  # given for all arms: in steps of the baseline's batches
        nominal *= base.batch_size / options.batch_size
    share = taught.questions / of_base.questions if budget == "examples" else per_example
    return max(1, ceil(nominal * share) if budget == "examples" else round(nominal * share))


def needs_loads(budget: str) -> bool:
    """Whether examples must be tokenised before steps are known."""
    return budget in ("learned-tokens", "flops")


def counts_tokens(budget: str, arms: Iterable[Arm]) -> bool:
    """The same of a grid, in which an arm may be given as many tokens as another whatever the budget."""
    return needs_loads(budget) or any(arm.matched for arm in arms)
