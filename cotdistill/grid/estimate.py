"""`ablate --dry-run`: what each arm would cost, before anything is elicited or trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from cotdistill.config import DistillConfig
from cotdistill.console import duration, say, show
from cotdistill.data.records import Example, Item, Kind, Rationale
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer
from cotdistill.distill import encoded, fresh_student
from cotdistill.errors import UsageError
from cotdistill.evaluation.statistics import minimum_detectable_effect
from cotdistill.grid.axes import candidates
from cotdistill.grid.budgets import Load, Taught, budget_steps
from cotdistill.grid.cells import CellStore
from cotdistill.grid.crews import workers_of
from cotdistill.grid.plan import Plan
from cotdistill.grid.preparation import chosen_rows
from cotdistill.grid.room import check_room, disk, footprints, free_disk, free_memory, gib
from cotdistill.grid.rows import rows_file, training_rows
from cotdistill.grid.sets import overlaps
from cotdistill.grid.watching import few
from cotdistill.grid.workshop import FLOPS_TRAINED
from cotdistill.strategies.grids import Variant
from cotdistill.strategies.join import join
from cotdistill.students.devices import device_of
from cotdistill.students.encode import EncodedSet
from cotdistill.students.footprint import Footprint
from cotdistill.students.load import load_student
from cotdistill.students.lora import attach, parse_lora
from cotdistill.students.train import train

DISCORDANCE, SEED_SD = 0.2, 0.02  # of a plan: shares of questions, and of accuracy between training runs


def estimate(plan: Plan, store: CellStore) -> None:
    """On stderr: cells, steps, tokens and FLOPs of training by arm, memory, disk, power, and time with `--measure`.

    Arms whose key words wait for their scores count as many random words. Raises `UsageError` where it does not fit.
    """
    done = Counter(record["arm"] for record in store.records() if "error" not in record)
    config, arms, items = plan.config, plan.arms, _items(plan)
    rows = chosen_rows(plan, items)
    overlaps(plan.sets, rows)
    taken = footprints(plan)
    students = {name: load_student(name, device=device_of(config.device)) for name in config.student}
    taught, loads, measured = {}, {}, {}
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
        if config.measure and (arm.student, arm.training) not in measured:
            measured[arm.student, arm.training] = seconds_per_token(plan.distilled(shown, 0, 2), data)
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
    if config.measure:
        spent = sum(measured[arm.student, arm.training] * loads[arm.label].inputs * steps[arm.label]
                    * configs[arm.label].batch_size * runs for arm in arms)
        workers = workers_of(config, len(arms) * len(config.seeds))
        say(f"about {duration(spent / workers)} of training with {workers} cells at once, by two measured steps of "
            "each way of training; elicitation and evaluation come on top")
    _say_room(plan, taken)
    _say_power(plan)
    check_room(plan, taken)


def seconds_per_token(settings: DistillConfig, data: EncodedSet) -> float:
    """Of training, by two real steps."""
    tried = settings.model_copy(update={"dev": None, "checkpoint_every": None, "track": (), "allow_divergence": True})
    student = fresh_student(tried)
    if tried.lora is not None:
        attach(student, parse_lora(tried.lora))
    with TemporaryDirectory() as folder:
        done = train(student, data, tried, Path(folder))
    return done.seconds / done.tokens


def _say_room(plan: Plan, taken: Mapping[str, Footprint]) -> None:
    """Memory and disk by arm; arms that are trained alike stand in one line."""
    alike: dict[Footprint, list[str]] = {}
    for label, one in taken.items():
        alike.setdefault(one, []).append(label)
    table = Table(box=None, pad_edge=False)
    for column in ("arms", "parameters", "trainable", "weights", "gradients", "optimizer", "activations", "memory",
                   "student on disk"):
        table.add_column(column, justify="left" if column == "arms" else "right")
    for one, labels in alike.items():
        table.add_row(few(labels, 2), f"{one.parameters:,}", f"{one.trainable:,}",
                      *map(gib, (one.weights, one.gradients, one.optimizer, one.activations, one.memory, one.saved)))
    show(table)
    workers = workers_of(plan.config, len(plan.arms) * len(plan.config.seeds))
    say(f"{workers} cells at once; {gib(free_memory(plan.config.device))} of memory are free. The grid takes about "
        f"{gib(disk(plan, taken, workers))} of disk; {gib(free_disk(plan.out))} are free")


def _say_power(plan: Plan) -> None:
    """The difference that would be found, by what such comparisons usually look like."""
    others, seeds = len(plan.arms) - 1, len(plan.config.seeds)
    if not others:
        return
    noise = SEED_SD if seeds > 1 else 0.0
    for chosen in plan.sets:
        count = len(chosen.examples())
        found = minimum_detectable_effect(count, DISCORDANCE, alpha=0.05 / others, seeds=seeds, seed_sd=noise)
        said = "no difference at all" if found is None else f"a difference of {100 * found:.1f} points"
        say(f"{chosen.name}: {said} from {plan.base.label} would be found with 80 % power ({count} questions, {seeds} "
            f"seeds, 5 % over {others} comparisons; taken: two arms disagree on {DISCORDANCE:.0%} of questions"
            + (f", seeds differ by {100 * SEED_SD:g} points)" if noise else "; seeds' noise is unknown with one)"))


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
