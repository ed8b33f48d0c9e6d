"""`ablate --dry-run`: what each arm would cost, before anything is elicited or trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from cotdistill.config import Config, DistillConfig
from cotdistill.console import duration, say, show
from cotdistill.data.records import Example, Item, Rationale, RationaleKind
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer
from cotdistill.distilling import fresh_student
from cotdistill.errors import UsageError
from cotdistill.grid.axes import candidates
from cotdistill.grid.budgets import FLOPS_FORWARD, Load, Taught, budget_steps
from cotdistill.grid.cells import CellStore
from cotdistill.grid.choose_executor import workers_of
from cotdistill.grid.plan import Plan
from cotdistill.grid.preparation import chosen_rows
from cotdistill.grid.room import check_room, disk_of_grid, footprints
from cotdistill.grid.rows import GridRows, learned_rows, rows_file
from cotdistill.grid.sets import contaminations
from cotdistill.grid.tasks import given_options, load_of
from cotdistill.grid.watching import few
from cotdistill.statistics.comparison import minimum_detectable_effect
from cotdistill.strategies.grids import unscored
from cotdistill.strategies.join import join
from cotdistill.students.encode import EncodedSet
from cotdistill.students.student import Student
from cotdistill.training.footprint import Footprint
from cotdistill.training.lora import attach, parse_lora
from cotdistill.training.room import free_disk, free_memory, gib
from cotdistill.training.train import Loop
from cotdistill.training.training_set import TrainingRows

DISCORDANCE, SEED_SD = 0.2, 0.02  # assumed: of paired answers, and of accuracy between training runs


def estimate(plan: Plan, store: CellStore) -> None:
    """On stderr: cells, steps, tokens and FLOPs of training by arm, memory, disk, power, and time with `--measure`.

    Arms whose key words have no scores yet are counted with as many random words. Raises
    `UsageError` where a cell does not fit.
    """
    rows = chosen_rows(plan, _items(plan))
    contaminations(plan.sets, rows)
    taken = footprints(plan)
    costs = count_costs(plan, rows)
    _say_work(plan, store, costs)
    if plan.config.measure:
        _say_time(plan, costs)
    _say_room(plan, taken)
    _say_power(plan)
    check_room(plan, taken)


@dataclass(frozen=True)
class Cost:
    """What training an arm costs: one example (`load`), all of its runs, and a token in measured seconds."""

    load: Load
    steps: int
    examples: int  # those that all of the arm's runs are shown
    seconds_per_token: float | None

    @property
    def flops(self) -> float:
        """6 x parameters x tokens computed, and what on-policy training adds."""
        return self.load.flops * self.examples


def count_costs(plan: Plan, rows: GridRows) -> dict[str, Cost]:
    """{label: what the arm costs}; its rows are encoded as a cell would, and with `--measure` two steps are trained."""
    config, runs = plan.config, runs_of(plan)
    student_of = cache(lambda name, chat: _untrained(plan, name, chat))
    amounts, loads, measured = {}, {}, {}
    for arm in plan.arms:
        variant = unscored(arm.variant)
        shown = replace(arm, variant=variant)
        options = plan.training(arm)[0]
        mine = learned_rows(rows, arm, options.mix, config.data_seed)
        student = student_of(arm.student, options.chat)
        joined = join(mine, variant.made)[0]
        settings = plan.distilled(shown, 0, 1)
        data = TrainingRows(settings, variant.made, mine, student).encoded(joined)
        amounts[arm.label] = Taught.of(mine, variant.made, options)
        loads[arm.label] = load_of(settings, data, len(joined), student)
        if config.measure and (arm.student, arm.training) not in measured:
            measured[arm.student, arm.training] = seconds_per_token(plan.distilled(shown, 0, 2), data)
    configs = {arm.label: plan.training(arm)[0] for arm in plan.arms}
    steps = budget_steps(plan.config.budget, configs, plan.base.label, amounts, loads, plan.arms)
    return {
        arm.label: Cost(
            loads[arm.label],
            steps[arm.label],
            steps[arm.label] * configs[arm.label].batch_size * runs,
            measured.get((arm.student, arm.training)),
        )
        for arm in plan.arms
    }


def runs_of(plan: Plan) -> int:
    """How often each arm is trained: every seed, and the candidates of a sweep with the first."""
    return len(plan.config.seeds) + max(0, len(candidates(plan.config.sweep)) - 1)


def _say_work(plan: Plan, store: CellStore, costs: Mapping[str, Cost]) -> None:
    done = Counter(record["arm"] for record in store.records() if "error" not in record)
    table, runs = Table(box=None, pad_edge=False), runs_of(plan)
    for column in ("arm", "cells", "done", "steps", "tokens learned", "tokens computed", "training FLOPs"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for label, cost in costs.items():
        table.add_row(
            label,
            str(runs),
            str(done.get(label, 0)),
            str(cost.steps),
            f"{cost.load.learned * cost.examples:,.0f}",
            f"{cost.load.inputs * cost.examples:,.0f}",
            f"{cost.flops:.2g}",
        )
    show(table)
    total = sum(cost.flops for cost in costs.values())
    say(f"{runs * len(costs)} training runs, {total:.3g} training FLOPs in total (6 x parameters x tokens computed)")
    _say_on_policy(costs)


def _say_on_policy(costs: Mapping[str, Cost]) -> None:
    """What is counted for the student's own texts, where there are any."""
    own = [cost for cost in costs.values() if cost.load.written]
    if own:
        positions = [cost.load.written * cost.load.inputs * cost.examples for cost in own]
        read = sum(each * FLOPS_FORWARD * cost.load.teacher for each, cost in zip(positions, own, strict=True))
        wrote = sum(each * FLOPS_FORWARD * cost.load.parameters for each, cost in zip(positions, own, strict=True))
        tokens = sum(cost.load.written * cost.load.learned * cost.examples for cost in own)
        say(
            f"of these {wrote:.2g} FLOPs are the students' writing of {tokens:,.0f} tokens and {read:.2g} their "
            "teacher's reading (--on-policy; what is written is taken to be as long as the rows' own texts)"
        )


def _say_time(plan: Plan, costs: Mapping[str, Cost]) -> None:
    spent = sum(cost.load.inputs * cost.examples * (cost.seconds_per_token or 0.0) for cost in costs.values())
    workers = workers_of(plan.config, len(plan.arms) * len(plan.config.seeds))
    say(
        f"about {duration(spent / workers)} of training with {workers} cells at once, estimated from two "
        "measured steps per training setting, without elicitation and evaluation"
    )


def _untrained(plan: Plan, name: str, chat: bool) -> Student:
    """A student whose tokens are counted, as a cell would load it; its weights are only counted."""
    return fresh_student(DistillConfig(student=name, chat=chat, **given_options(plan.config, Config)))


def seconds_per_token(settings: DistillConfig, data: EncodedSet) -> float:
    """Seconds of training, from two real steps."""
    tried = settings.model_copy(update={"dev": None, "checkpoint_every": None, "track": (), "allow_divergence": True})
    student = fresh_student(tried)
    if tried.lora is not None:
        attach(student, parse_lora(tried.lora))
    with TemporaryDirectory() as folder:
        done = Loop(student, data, tried, Path(folder)).run()
    return done.seconds / done.tokens


def _say_room(plan: Plan, taken: Mapping[str, Footprint]) -> None:
    """Memory and disk by arm; arms that are trained alike share a line."""
    alike: dict[Footprint, list[str]] = {}
    for label, footprint in taken.items():
        alike.setdefault(footprint, []).append(label)
    table = Table(box=None, pad_edge=False)
    for column in (
        "arms",
        "parameters",
        "trainable",
        "weights",
        "gradients",
        "optimizer",
        "activations",
        "memory",
        "student on disk",
    ):
        table.add_column(column, justify="left" if column == "arms" else "right")
    for footprint, labels in alike.items():
        table.add_row(
            few(labels, 2),
            f"{footprint.parameters:,}",
            f"{footprint.trainable:,}",
            *map(
                gib,
                (
                    footprint.weights,
                    footprint.gradients,
                    footprint.optimizer,
                    footprint.activations,
                    footprint.memory,
                    footprint.saved,
                ),
            ),
        )
    show(table)
    workers = workers_of(plan.config, len(plan.arms) * len(plan.config.seeds))
    say(
        f"{workers} cells at once; {gib(free_memory(plan.config.device))} of memory are free. The grid needs about "
        f"{gib(disk_of_grid(plan, taken, workers))} of disk; {gib(free_disk(plan.out))} are free"
    )


def _say_power(plan: Plan) -> None:
    """The smallest difference that would be detected, assuming what such comparisons usually look like."""
    others, seeds = len(plan.arms) - 1, len(plan.config.seeds)
    if not others:
        return
    noise = SEED_SD if seeds > 1 else 0.0
    for chosen in plan.sets:
        count = len(chosen.examples())
        smallest = minimum_detectable_effect(count, DISCORDANCE, alpha=0.05 / others, seeds=seeds, seed_sd=noise)
        shown = "no difference at all" if smallest is None else f"a difference of {100 * smallest:.1f} points"
        say(
            f"{chosen.name}: {shown} from {plan.base.label} would be found with 80 % power ({count} questions, {seeds} "
            f"seeds, 5 % over {others} comparisons; assumed: two arms disagree on {DISCORDANCE:.0%} of questions"
            + (f", seeds differ by {100 * SEED_SD:g} points)" if noise else "; seed noise unknown with one)")
        )


def _items(plan: Plan) -> dict[str, list[Item]]:
    """The rows by decoding: given, elicited before, or simulated."""
    if plan.given is not None:
        return dict.fromkeys(plan.decodings, plan.given_items)
    if all(rows_file(plan.out, decoding).exists() for decoding in plan.decodings):
        return {decoding: read_items(rows_file(plan.out, decoding)) for decoding in plan.decodings}
    assert plan.train is not None
    standing = stand_ins(
        load_examples(plan.train, None, plan.config.limit, plan.config.data_seed, plan.config.map, plan.config)
    )
    say(f"{len(standing)} questions would be put to the teacher {plan.teacher}, {len(plan.decodings)} times")
    return dict.fromkeys(plan.decodings, standing)


def stand_ins(examples: Sequence[Example]) -> list[Item]:
    """Rows as elicitation may give them: the questions' own rationales replace the teacher's."""
    if not all(example.rationale for example in examples):
        raise UsageError("--dry-run cannot estimate the cost of rationales that are not elicited yet: give ROWS")
    return [
        Item.of(e, (_stand_in(e, "factual", e.answer), _stand_in(e, "counterfactual", wrong_answer(e, examples))))
        for e in examples
    ]


def _stand_in(example: Example, kind: RationaleKind, answer: str) -> Rationale:
    return Rationale(
        kind=kind,
        text=example.rationale or "",
        answer=answer,
        correct=True,
        label="keep",
        teacher="none",
        decoding={},
        prompt=None,
        finished=True,
    )
