"""Demonstrations for the prompt: our own, shipped for each kind of task, or drawn from the training split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.answers.answers import extract
from cotdistill.console import warn_once
from cotdistill.data.questions import read_examples
from cotdistill.data.records import Example
from cotdistill.plugins.kinds import checker_of
from cotdistill.seeds import rng
from cotdistill.teachers.prompts import Shot, subject_words

FOLDER = Path(__file__).parent / "demonstrations"
# Which file demonstrates a task; for any other task the kind of its answers decides.
TASKS = {
    "commonsenseqa": "commonsense",
    "commonsense_qa": "commonsense",
    "openbookqa": "science",
    "qasc": "science",
    "ai2_arc": "science",
    "arc_challenge": "science",
    "arc_easy": "science",
    "quarel": "relations",
    "aqua": "algebra",
    "aqua_rat": "algebra",
    "strategyqa": "yesno",
    "strategy_qa": "yesno",
    "creak": "statements",
    "gsm8k": "arithmetic",
    "svamp": "arithmetic",
}
KINDS = {"choice": "commonsense", "yesno": "yesno", "truefalse": "statements", "number": "arithmetic", "text": "words"}


@dataclass(frozen=True)
class Shots:
    """The demonstrations of a run. `own`: those drawn from rows that may also be questions."""

    by_task: dict[str, tuple[tuple[str, Shot], ...]]  # task -> (row id, shot)
    count: int

    def of(self, example: Example) -> list[Shot]:
        """The first `count` demonstrations that are not this row itself."""
        known = self.by_task.get(example.task, ())
        return [shot for row, shot in known if row != example.id][: self.count]

    def fewer(self, count: int) -> Shots:
        """The same, at most `count` per prompt."""
        return Shots(self.by_task, min(count, self.count))


def choose_shots(
    asked: int | None, examples: Sequence[Example], train: Callable[[], Sequence[Example]], seed: int
) -> Shots:
    """`asked` demonstrations per task, drawn from the training rows by seed; without a number all our own.

    Where the training rows have no rationales our own are used. A task whose checker says so
    gets none: its teacher was trained on the bare prompt.
    """
    first = {example.task: example for example in reversed(examples)}
    if asked == 0:
        return Shots({}, 0)
    if asked is None:
        by_task = {task: shipped(example) for task, example in first.items() if not _prompts_bare(example)}
        return Shots(by_task, max(map(len, by_task.values()), default=0))
    rows = train()
    by_task = {task: drawn(rows, task, asked + 1, seed) or shipped(example) for task, example in first.items()}
    if (least := min(map(len, by_task.values()))) < asked:
        warn_once(f"--shots {asked}: only {least} demonstrations are to be had")
    return Shots(by_task, asked)


def _prompts_bare(example: Example) -> bool:
    checker = checker_of(example.question)
    return checker is not None and checker.prompts_bare


def drawn(rows: Sequence[Example], task: str, count: int, seed: int) -> tuple[tuple[str, Shot], ...]:
    """Up to `count` rows of a task that have a rationale, in an order drawn from the seed."""
    usable = [row for row in rows if row.task == task and (row.rationale or "").strip()]
    order = rng(seed, "shots", task).sample(usable, min(count, len(usable)))
    return tuple((row.id, _shot(row)) for row in order)


def shipped(example: Example) -> tuple[tuple[str, Shot], ...]:
    """Our own demonstrations for the task of this row."""
    name = TASKS.get(example.task) or KINDS[example.kind_of_answer]
    return tuple((row.id, _shot(row)) for row in read_examples(FOLDER / f"{name}.jsonl"))


def _shot(row: Example) -> Shot:
    rationale = extract(row.rationale or "", row.choices, row.kind_of_answer).rationale
    return Shot(row.text(), " ".join(rationale.split()), row.answer, subject_words(row))
