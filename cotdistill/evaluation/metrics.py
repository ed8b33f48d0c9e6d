"""Metrics of one run on one set, from its predictions: no model is needed to compute them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from cotdistill.answers.answers import AnswerKind, Verdict, answer_kind
from cotdistill.answers.judging import SECOND, Judge, extractor_version, judge_by, judge_last, judge_slot
from cotdistill.data.records import Example
from cotdistill.evaluation.store import Answered
from cotdistill.plugins.kinds import checker_of
from cotdistill.statistics.calibration import calibration, choice_confidence, token_confidence
from cotdistill.statistics.intervals import wilson


class Prediction(Answered):
    """One line of RUN/predictions/SET.jsonl: the student's output for one question and how it was judged."""

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
    unprompted: bool = True  # it wrote every connector itself: free connectors would have given the same
    whole: bool = False  # output is a whole generation (made elsewhere), not one slot
    batch_size: int | None = None
    # log likelihood and tokens of each choice in the answer's place; of the output alone where there are no
    # choices
    likelihoods: tuple[tuple[float, int], ...] | None = None
    rendered: tuple[str, ...] | None = None  # the texts that `likelihoods` are of

    @classmethod
    def of(cls, example: Example, output: str | None, judge: Judge, **said: Any) -> Self:
        """What was said to a question, judged; `said`: the other fields, as they are."""
        answer, verdict = judge(output, example.answer, example.choices, example.kind_of_answer)
        return cls(
            id=example.id,
            task=example.task,
            question=example.question,
            choices=example.choices,
            gold=example.answer,
            output=output,
            answer=answer,
            verdict=verdict,
            **said,
        )

    @property
    def kind(self) -> AnswerKind:
        """choice, yesno, truefalse, number or text."""
        return answer_kind(self.choices, self.gold)

    @property
    def options(self) -> tuple[str, ...] | None:
        """What can be answered: the choices, yes and no, true and false; None for a free answer."""
        return options(self.choices, self.kind)

    @property
    def confidence(self) -> float | None:
        """The student's confidence in the answer it gave, in [0, 1]; None where it gave none."""
        if self.likelihoods is None or self.answer is None:
            return None
        options = self.options
        if options is None:
            return token_confidence(*self.likelihoods[0])
        if self.answer not in options:
            return None
        return choice_confidence([total for total, _ in self.likelihoods], options.index(self.answer))


def options(choices: tuple[str, ...] | None, kind: AnswerKind) -> tuple[str, ...] | None:
    """The texts among which an answer is chosen, as given or as the kind of answer implies; None: free."""
    return choices or {"yesno": ("yes", "no"), "truefalse": ("true", "false")}.get(kind)


def judged_again(predictions: Sequence[Prediction], extractor: str) -> list[Prediction]:
    """The predictions with answer and verdict extracted anew from what was generated."""
    found = []
    for p in predictions:
        answer, verdict = judge_by(extractor, p.whole)(p.output, p.gold, p.choices, p.kind)
        same = (answer, verdict) == (p.answer, p.verdict)
        found.append(p if same else p.model_copy(update={"answer": answer, "verdict": verdict}))
    return found


def compute_metrics(
    predictions: Sequence[Prediction],
    extractor: str = "answers",
    flops_per_token: float | None = None,
    seconds_per_question: float | None = None,
) -> dict[str, Any]:
    """Accuracy with its Wilson interval, counts, calibration, cost, accuracy by task, what a checker says."""
    tasks, cost = by_task(predictions), tokens_per_question(predictions)
    forwarded = cost["forwarded_per_question"]
    return {
        **counted(predictions),
        "extractor": extractor_version(extractor),
        "sensitivity": sensitivity(predictions),
        **connector_figures(predictions),
        **choice_metrics(predictions),
        **cost,
        "flops_per_question": None if flops_per_token is None else flops_per_token * forwarded,
        "seconds_per_question": seconds_per_question,
        "by_task": tasks,
        "macro": _mean(list(tasks.values())),
        "calibration": calibration_metrics(predictions),
        **checked_metrics(predictions),
    }


def counted(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy with its Wilson interval, and counts of the verdicts."""
    counts = Counter(p.verdict for p in predictions)
    interval = wilson(counts["right"], len(predictions))
    return {
        "n": len(predictions),
        "accuracy": interval.estimate,
        "interval": [interval.low, interval.high],
        "right": counts["right"],
        "wrong": counts["wrong"],
        "unparsed": counts["unparsed"],
        "unfinished": sum(not p.finished for p in predictions),
    }


def tokens_per_question(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Mean tokens that a question costs: generated, and forwarded in all."""
    return {
        "generated_per_question": _mean([p.generated for p in predictions]),
        "forwarded_per_question": _mean([p.forwarded for p in predictions]),
    }


def by_task(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracy of each task; their plain mean is the macro accuracy."""
    return {task: right / n for task, (right, n) in counts_by_task(predictions).items()}


def counts_by_task(predictions: Sequence[Prediction]) -> dict[str, tuple[int, int]]:
    """(right, n) of each task, in the order of their names."""
    tasks: dict[str, list[bool]] = {}
    for p in predictions:
        tasks.setdefault(p.task, []).append(p.verdict == "right")
    return {task: (sum(right), len(right)) for task, right in sorted(tasks.items())}


def sensitivity(predictions: Sequence[Prediction], other: Judge = judge_last) -> dict[str, Any]:
    """Accuracy by a second, cruder extractor on the same outputs: how much the metric depends on ours."""
    verdicts = [other(p.output, p.gold, p.choices, p.kind)[1] for p in predictions]
    return {
        "extractor": SECOND,
        "accuracy": _mean([verdict == "right" for verdict in verdicts]),
        "unparsed": verdicts.count("unparsed"),
        "verdicts_differ": _mean([v != p.verdict for v, p in zip(verdicts, predictions, strict=True)]),
    }


def connector_figures(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy if connectors were left to the student, where that differs from forcing them.

    Forced and free walks are the same up to a connector that the student does not write; there the free walk
    ends without an answer, so one forced walk gives both accuracies.
    """
    if all(p.unprompted for p in predictions):
        return {}
    free = _mean([p.verdict == "right" and p.unprompted for p in predictions])
    return {"accuracy_free": free, "connectors_forced": sum(not p.unprompted for p in predictions)}


def choice_metrics(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy of the likeliest choice: by log likelihood in sum, per token and per character."""
    scored = [p for p in predictions if p.options is not None and p.likelihoods is not None]
    if not scored:
        return {}
    found = {
        name: _mean([judge_slot(likeliest(p, name), p.gold, p.choices, p.kind)[1] == "right" for p in scored])
        for name in ("sum", "token", "character")
    }
    return {"accuracy_by_likelihood": {"n": len(scored), **found}}


def likeliest(prediction: Prediction, by: str = "sum") -> str:
    """The choice of the highest score; the first of equals. Needs choices and their likelihoods."""
    p = prediction
    texts = p.options
    assert texts is not None
    assert p.likelihoods is not None
    lengths = {
        "sum": [1] * len(texts),
        "token": [tokens for _, tokens in p.likelihoods],
        "character": [len(text) for text in p.rendered or texts],
    }[by]
    scores = [total / max(1, length) for (total, _), length in zip(p.likelihoods, lengths, strict=True)]
    return texts[scores.index(max(scores))]


def calibration_metrics(predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Calibration of the answers given; None where no likelihoods were taken."""
    if all(p.likelihoods is None for p in predictions):
        return None
    sure = [(p.confidence, p.verdict == "right") for p in predictions if p.confidence is not None]
    return {
        **calibration([confidence for confidence, _ in sure], [right for _, right in sure]),
        "without_confidence": len(predictions) - len(sure),
    }


def checked_metrics(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """For questions of a checkable task: does the student follow the cue, are its rationale's steps true?

    conflict: accuracy where the cue names a wrong choice; follows_cue: how often it then answers the cue;
    steps_true: share of true steps over all steps of all rationales, malformed sentences counted as untrue;
    sound: share of rationales that prove the right answer.
    """
    ours = [(p, checker) for p in predictions if (checker := checker_of(p.question)) is not None]
    if not ours:
        return {}
    cued = [(p, cue) for p, checker in ours if (cue := checker.cue(p.question)) is not None]
    conflict = [(p, cue) for p, cue in cued if cue != p.gold]
    metrics: dict[str, Any] = {}
    if conflict:
        metrics["conflict"] = _mean([p.verdict == "right" for p, _ in conflict])
        metrics["follows_cue"] = _mean([p.answer == cue for p, cue in conflict])
        metrics["n_conflict"] = len(conflict)
    checked = [
        judged
        for p, checker in ours
        if p.rationale is not None and (judged := checker.check(p.question, p.choices, p.rationale))
    ]
    if checked:
        metrics["steps_true"] = _mean([judged.share_true for judged in checked])
        metrics["sound"] = _mean([judged.sound for judged in checked])
    return metrics


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
