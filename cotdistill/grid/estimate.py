"""`ablate --dry-run`: what each arm would cost, before anything is elicited or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.table import Table

from cotdistill.console import say, show
from cotdistill.data.records import Example, Item, Kind, Rationale
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer
from cotdistill.distill import encoded
from cotdistill.errors import UsageError
from cotdistill.grid.axes import candidates
from cotdistill.grid.budgets import Load, Taught, budget_steps
from cotdistill.grid.plan import Plan
from cotdistill.grid.preparation import chosen_rows
from cotdistill.grid.rows import rows_file, training_rows
from cotdistill.grid.sets import overlaps
from cotdistill.grid.workshop import FLOPS_TRAINED
from cotdistill.strategies.grids import Variant
from cotdistill.strategies.join import join
from cotdistill.students.devices import device_of
from cotdistill.students.load import load_student


def estimate(plan: Plan, done: Mapping[str, int]) -> None:
    """One line an arm, on stderr: cells, steps, tokens and FLOPs of training. `done`: cells that are finished.

    Arms whose key words wait for their scores count as many random words.
    """
    config, arms, items = plan.config, plan.arms, _items(plan)
    rows = chosen_rows(plan, items)
    overlaps(plan.sets, rows)
    students = {name: load_student(name, device=device_of(config.device)) for name in config.student}
    taught, loads = {}, {}
    for arm in arms:
        attributed = arm.variant.made.needs_scores not in (None, "tfidf")
        variant = Variant("post-cot-random-k", {"k": arm.variant.made.params["k"]}) if attributed else arm.variant
        shown = replace(arm, variant=variant)
        mine, student = training_rows(rows, arm, config.data_seed), students[arm.student]
        joined = join(mine, variant.made)[0]
        data = encoded(plan.distilled(shown, 0, 1), variant.made, mine,
                       joined, student)
        taught[arm.label] = Taught(len({sample.id for sample in joined}), len(joined))
        loads[arm.label] = Load(sum(data.learned_tokens().values()) / len(joined), data.input_tokens() / len(joined),
                                student.model.num_parameters())
    configs = {arm.label: plan.training(arm)[0] for arm in arms}
    steps = budget_steps(configs, plan.base.label, taught, loads)
    table, total = Table(box=None, pad_edge=False), 0.0
    for column in ("arm", "cells", "done", "steps", "tokens learned", "tokens computed", "training FLOPs"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    runs = len(config.seeds) + max(0, len(candidates(config)) - 1)
    for arm in arms:
        shown_examples = steps[arm.label] * configs[arm.label].batch_size
        load = loads[arm.label]
        flops = FLOPS_TRAINED * load.parameters * load.inputs * shown_examples * runs
        total += flops
        table.add_row(arm.label, str(runs), str(done.get(arm.label, 0)), str(steps[arm.label]),
                      f"{load.learned * shown_examples * runs:,.0f}", f"{load.inputs * shown_examples * runs:,.0f}",
                      f"{flops:.2g}")
    show(table)
    say(f"{runs * len(arms)} training runs, {total:.3g} training FLOPs in all (6 x parameters x tokens computed)")


def _items(plan: Plan) -> dict[str, list[Item]]:
    """The rows by decoding, given, elicited before, or stood in for."""
    if plan.given is not None:
        return dict.fromkeys(plan.decodings, plan.given_items)
    if all(rows_file(plan.out, decoding).exists() for decoding in plan.decodings):
        return {decoding: read_items(rows_file(plan.out, decoding)) for decoding in plan.decodings}
    assert plan.train is not None
    standing = stand_ins(load_examples(plan.train, None, plan.config.limit, plan.config.data_seed, plan.config.map,
                                       plan.config))
    say(f"{len(standing)} questions would be put to the teacher {plan.teacher}, {len(plan.decodings)} times")
    return dict.fromkeys(plan.decodings, standing)


def stand_ins(examples: Sequence[Example]) -> list[Item]:
    """Rows as elicitation may give them: the questions' own rationales stand in for the teacher's."""
    if not all(example.rationale for example in examples):
        raise UsageError("--dry-run cannot estimate the cost of rationales that are not elicited yet: give ROWS")
    return [Item(id=e.id, task=e.task, split=e.split, question=e.question, choices=e.choices, answer=e.answer,
                 rationales=(_stand_in(e, "factual", e.answer),
                             _stand_in(e, "counterfactual", wrong_answer(e, examples)))) for e in examples]


def _stand_in(example: Example, kind: Kind, answer: str) -> Rationale:
    return Rationale(kind=kind, text=example.rationale or "", answer=answer, correct=True, label="keep",
                     teacher="none", decoding={}, prompt=None, finished=True)
