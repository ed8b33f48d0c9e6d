"""What comes before the first cell: the rows, and the references that stand beside the students."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cotdistill.console import say
from cotdistill.data.files import file_digest, json_digest, write_text
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import is_world
from cotdistill.errors import UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.attributions import scorings
from cotdistill.grid.cells import CellStore, Record
from cotdistill.grid.plan import Plan
from cotdistill.grid.rows import Rows, choose, of_decoding, rows_file, usage, write_rows
from cotdistill.grid.workers import Task, together
from cotdistill.grid.workshop import answer_as_teacher, answer_untrained, elicit_rows
from cotdistill.run_key import student_digest
from cotdistill.strategies.description import describe as strategy_record
from cotdistill.strategies.grids import UNTRAINED

Reference = tuple[str, dict[str, Any], tuple[Callable[..., Any], tuple[Any, ...]]]  # name, definition, task


def check_models(plan: Plan) -> None:
    """Complain at once about a student, teacher or device that is not there: every cell would fail on it alone."""
    from cotdistill.students.devices import device_of
    from cotdistill.students.load import outline_student
    from cotdistill.students.sharding import check_parallel

    device_of(plan.config.device)
    for arm in plan.arms:
        check_parallel(plan.distilled(arm, 0, 1))
    if plan.config.parallel == "fsdp" and together(plan.config.gpus_per_cell) == 1:
        raise UsageError("--parallel fsdp changes nothing without --gpus-per-cell of at least 2")
    for name in (*plan.config.student, *([plan.teacher_model] if plan.teacher_model else [])):
        outline_student(name, plan.config.trust_remote_code)


def row_tasks(plan: Plan, store: CellStore) -> Iterator[Task]:
    """Elicitation of what is not there yet; rows that were given are copied at once."""
    for decoding in plan.decodings:
        path = rows_file(plan.out, decoding)
        if plan.given is not None:
            items = of_decoding(plan.given_items, decoding) if plan.config.teacher_decoding else plan.given_items
            write_text(path, "".join(item.line() + "\n" for item in items))
            continue
        config = plan.elicited(decoding, path)
        about = {"rows": plan.asked(config)}
        if not is_that_file(path, store.finished(json_digest(about))):
            path.unlink(missing_ok=True)  # elicited otherwise
            yield Task((f"rows/{decoding}", about), elicit_rows, (config,))


def is_that_file(path: Path, record: Record | None) -> bool:
    """Whether a file is there and is the one that was recorded, not one of another grid in this directory."""
    return record is not None and path.is_file() and record["digest"] == file_digest(path)


def references(plan: Plan) -> Iterator[Reference]:
    """The teacher's and the untrained students' rows of the table."""
    evaluation = plan.evaluation(plan.sets)
    if plan.teacher is not None:
        about = {"teacher": [plan.asked(plan.answering(one, plan.out)) for one in plan.sets],
                 "evaluation": evaluation}
        folder = plan.out / "references" / f"teacher-{json_digest(about)[:8]}"
        configs = tuple(plan.answering(one, folder) for one in plan.sets)
        yield "teacher", about, (answer_as_teacher, (folder, configs, plan.sets))
    for name in plan.config.student:
        arm = "untrained student" + (f" [{name}]" if len(plan.config.student) > 1 else "")
        settings = plan.distilled(Arm(UNTRAINED, name), 0, 1)
        about = {"untrained": {"strategy": strategy_record(UNTRAINED.made), "student": student_digest(name), **{
                     option: getattr(settings, option) for option in ("answers", "chat", "quantize", "dtype")}},
                 "evaluation": evaluation}
        yield arm, about, (answer_untrained, (settings, arm, plan.sets))


def choose_rows(plan: Plan) -> Rows:
    """The rows of every decoding as they are kept, and which of them count; written."""
    found = chosen_rows(plan, {decoding: read_items(rows_file(plan.out, decoding)) for decoding in plan.decodings})
    write_rows(plan.out, found)
    return found


def chosen_rows(plan: Plan, by_decoding: dict[str, list[Item]]) -> Rows:
    """Which rows count; says what each arm does without, and why."""
    hold_out = bool(plan.config.sweep) and plan.config.dev is None and not (plan.train and is_world(plan.train))
    own = plan.config.rows_ == "own"
    asked = [scoring.trains for scoring in scorings(plan.arms)] if own else []
    found = choose(by_decoding, [*plan.arms, *asked], plan.config.match_lengths, hold_out, own, plan.config.data_seed)
    _say_usage(plan, usage(found, plan.arms))
    return found


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
