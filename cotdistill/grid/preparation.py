"""What comes before the first cell: the rows, and the references that the students are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cotdistill.console import say
from cotdistill.data.distributions import beside
from cotdistill.data.files import JsonObject, file_digest, json_digest, write_text
from cotdistill.data.mixture import copy_of, parse_mix
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import has_dev
from cotdistill.grid.arms import Arm, base_students
from cotdistill.grid.attributions import scorings
from cotdistill.grid.axes import values_of
from cotdistill.grid.cells import CellStore
from cotdistill.grid.distributions import copy_distributions
from cotdistill.grid.executors import Task
from cotdistill.grid.plan import Plan
from cotdistill.grid.rows import GridRows, choose, of_decoding, rows_file, usage, write_rows
from cotdistill.grid.tasks import answer_as_teacher, answer_untrained, elicit_rows
from cotdistill.grid.watching import few
from cotdistill.run_key import student_digest
from cotdistill.strategies.description import dump_strategy as strategy_record
from cotdistill.strategies.grids import UNTRAINED

Reference = tuple[str, dict[str, Any], tuple[Callable[..., Any], tuple[Any, ...]]]  # name, definition, task


class Prepared(NamedTuple):
    """What is made before the cells: rows, or a row of the table that no cell gives."""

    name: str
    definition: dict[str, Any]


def row_tasks(plan: Plan, store: CellStore) -> Iterator[Task]:
    """Tasks that elicit missing rows; rows that were given are copied at once."""
    _copy_mixed(plan)
    for decoding in plan.decodings:
        path = rows_file(plan.out, decoding)
        if plan.given is not None:
            write_text(path, "".join(item.line() + "\n" for item in given_rows(plan, decoding)))
            copy_distributions(plan, decoding)
            continue
        config = plan.elicited(decoding, path)
        about = {"rows": plan.asked(config)}
        record = store.finished(json_digest(about))
        if not is_that_file(path, record):
            path.unlink(missing_ok=True)  # elicited under other settings
            beside(path).unlink(missing_ok=True)
            yield Task(Prepared(f"rows/{decoding}", about), elicit_rows, (config,))
        elif not has_logprobs(path, record, config.logprobs):  # the rows stay, only their distributions are made
            yield Task(Prepared(f"rows/{decoding}", about), elicit_rows, (config,))


def is_that_file(path: Path, record: JsonObject | None) -> bool:
    """Whether a file exists and is the recorded one, not one of another grid in this directory."""
    return record is not None and path.is_file() and record["digest"] == file_digest(path)


def has_logprobs(path: Path, record: JsonObject | None, k: int | None) -> bool:
    """Whether the K likeliest tokens lie beside a file of rows as they were recorded, where they are wanted."""
    file = beside(path)
    return k is None or (
        record is not None and file.is_file() and record.get("logprobs") == {"k": k, "digest": file_digest(file)}
    )


def references(plan: Plan) -> Iterator[Reference]:
    """The teacher's and the untrained students' rows of the table."""
    evaluation = plan.evaluation(plan.sets)
    if plan.teacher is not None:
        about = {"teacher": [plan.asked(plan.answering(one, plan.out)) for one in plan.sets], "evaluation": evaluation}
        folder = plan.out / "references" / f"teacher-{json_digest(about)[:8]}"
        configs = tuple(plan.answering(one, folder) for one in plan.sets)
        yield "teacher", about, (answer_as_teacher, (folder, configs, plan.sets))
    names = base_students(plan.config.student)
    for name in names:
        arm = "untrained student" + (f" [{name}]" if len(names) > 1 else "")
        settings = plan.distilled(Arm(UNTRAINED, name), 0, 1)
        about = {
            "untrained": {
                "strategy": strategy_record(UNTRAINED.made),
                "student": student_digest(name),
                **{option: getattr(settings, option) for option in ("answers", "chat", "quantize", "dtype")},
            },
            "evaluation": evaluation,
        }
        yield arm, about, (answer_untrained, (settings, arm, plan.sets))


def _copy_mixed(plan: Plan) -> None:
    """Copy the files of mixtures that a control changes: `verify` makes these rows again."""
    mixes = {values_of(arm.training).get("mix", ()) for arm in plan.arms if arm.control}
    for name in {name for mix in mixes if mix for name in parse_mix(mix) if Path(name).is_file()}:
        write_text(copy_of(name, plan.out / "rows"), "".join(item.line() + "\n" for item in read_items(name)))


def given_rows(plan: Plan, decoding: str) -> list[Item]:
    """The given rows, as an arm of that decoding sees them."""
    return of_decoding(plan.given_items, decoding) if plan.config.teacher_decoding else plan.given_items


def choose_rows(plan: Plan) -> GridRows:
    """Read the rows of every decoding, choose those that count, and write the choice."""
    found = chosen_rows(plan, {decoding: read_items(rows_file(plan.out, decoding)) for decoding in plan.decodings})
    write_rows(plan.out, found)
    return replace(found, folder=plan.out / "rows")


def chosen_rows(plan: Plan, by_decoding: dict[str, list[Item]]) -> GridRows:
    """Which rows count; says what each arm does without, and why."""
    found = used_rows(plan, by_decoding)
    _say_usage(plan, usage(found, plan.arms))
    _say_all_right(plan, found)
    return found


def used_rows(plan: Plan, by_decoding: dict[str, list[Item]]) -> GridRows:
    """Which rows count. Raises `NothingLeft` where none do."""
    hold_out = bool(plan.config.sweep) and plan.config.dev is None and not (plan.train and has_dev(plan.train))
    own = plan.config.rows_ == "own"
    asked = [scoring.trains for scoring in scorings(plan.arms)] if own else []
    return choose(by_decoding, [*plan.arms, *asked], plan.config.match_lengths, hold_out, own, plan.config.data_seed)


def _say_usage(plan: Plan, used: dict[str, dict[str, Any]]) -> None:
    """One line for all arms that lose the same rows for the same reasons."""
    alike: dict[str, list[str]] = {}
    for arm, one in used.items():
        if one["trains_on"] < one["rows"]:
            why = "; ".join(f"{reason} ({count})" for reason, count in one["why"].items())
            alike.setdefault(f"{one['trains_on']} of {one['rows']} rows; left out: {why}", []).append(arm)
    for text, arms in alike.items():
        say(f"{', '.join(arms)}: {text}")
    if alike and plan.config.rows_ == "common" and any(one["trains_on"] < one["can_use"] for one in used.values()):
        say("all arms train on the rows that every arm can use; --rows own gives each the rows that it can use itself")


def _say_all_right(plan: Plan, rows: GridRows) -> None:
    """Say where leaving out wrong answers changes nothing."""
    filtered = [arm for arm in plan.arms if plan.training(arm)[0].select == "right" and not plan.training(arm)[0].mix]
    wrong = any(
        one.correct is False and one.label == "keep"
        for decoding in {arm.decoding for arm in filtered}
        for item in rows.by_decoding[decoding]
        for one in item.rationales
    )
    if filtered and not wrong:
        say(
            f"{few([arm.label for arm in filtered], 3)}: no kept rationale ends in a wrong answer, so these are all "
            "rows; elicit --hint none --keep all to compare with an answer filter"
        )
