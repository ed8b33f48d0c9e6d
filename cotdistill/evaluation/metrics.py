"""Figures of one run on one set, from its predictions: no model is needed to compute them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cotdistill.data.records import Record
from cotdistill.demo import checker, world
from cotdistill.evaluation.answers import EXTRACTOR, Verdict
from cotdistill.evaluation.intervals import wilson


class Prediction(Record):
    """One line of RUN/predictions/SET.jsonl: what the student said to one question and how it was judged."""

    id: str
    task: str
    question: str
    choices: tuple[str, ...] | None
    gold: str
    rationale: str | None
    output: str | None  # the answer slot as generated; null: never reached
    answer: str | None  # as read by the extractor; null: unparsed
    verdict: Verdict
    finished: bool
    generated: int
    forwarded: int


def figures(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy with its Wilson interval, counts, cost, per-task accuracy, and the embedded world's own figures."""
    counts = Counter(p.verdict for p in predictions)
    interval = wilson(counts["right"], len(predictions))
    found: dict[str, Any] = {
        "n": len(predictions), "accuracy": interval.estimate, "interval": [interval.low, interval.high],
        "right": counts["right"], "wrong": counts["wrong"], "unparsed": counts["unparsed"],
        "unfinished": sum(not p.finished for p in predictions), "extractor": EXTRACTOR,
        "generated_per_question": _mean([p.generated for p in predictions]),
        "forwarded_per_question": _mean([p.forwarded for p in predictions]),
        "by_task": by_task(predictions),
    }
    return {**found, **world_figures(predictions)}


def by_task(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracy of each task; their plain mean is the macro accuracy."""
    tasks: dict[str, list[bool]] = {}
    for p in predictions:
        tasks.setdefault(p.task, []).append(p.verdict == "right")
    return {task: _mean(right) for task, right in sorted(tasks.items())}


def world_figures(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """For questions of the embedded world: does the student follow the cue, are its rationale's steps true?

    conflict: accuracy where the cue names a wrong choice; follows_cue: how often it then answers the cue;
    steps_true: share of true steps over all steps of all rationales, malformed sentences counted as untrue.
    """
    ours = [p for p in predictions if world.parse(p.question) is not None]
    if not ours:
        return {}
    conflict = [p for p in ours if world.is_conflict(p.question, p.gold)]
    found: dict[str, Any] = {}
    if conflict:
        found["conflict"] = _mean([p.verdict == "right" for p in conflict])
        found["follows_cue"] = _mean([p.answer == world.cue(p.question) for p in conflict])
        found["n_conflict"] = len(conflict)
    verdicts = [v for p in ours if p.rationale is not None and (v := checker.check(p.question, p.choices, p.rationale))]
    if verdicts:
        found["steps_true"] = _mean([v.share_true for v in verdicts])
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
