"""Several sampled answers per question: majority vote and pass@k."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

from cotdistill.answers.answers import AnswerKind, Choices, Verdict, judge, same_answer
from cotdistill.answers.judging import Judge
from cotdistill.evaluation.store import Answered
from cotdistill.statistics.effect import average
from cotdistill.statistics.intervals import wilson


class Sampled(Answered):
    """One line of SET.samples.jsonl: the answers of K sampled walks of one question, in the order drawn."""

    outputs: tuple[str | None, ...]
    answers: tuple[str | None, ...]
    verdicts: tuple[Verdict, ...]

    def read_again(self, judge: Judge, gold: str, choices: Choices, kind: AnswerKind) -> Sampled:
        """Answers and verdicts extracted anew from what was generated."""
        judged = [judge(output, gold, choices, kind) for output in self.outputs]
        answers, verdicts = (tuple(column) for column in zip(*judged, strict=True))
        return self.model_copy(update={"answers": answers, "verdicts": verdicts})


def majority(answers: Sequence[str | None], choices: Choices, kind: AnswerKind) -> str | None:
    """The answer that most samples gave; a tie goes to the one drawn first; None where none was parsed.

    Equal answers count as one however they are written ("1,000" and "1000").
    Source: Wang et al. (2023), Self-consistency, arXiv 2203.11171.
    """
    groups: list[tuple[str, int]] = []
    for answer in answers:
        if answer is None:
            continue
        for at, (first, count) in enumerate(groups):
            if same_answer(first, answer, choices, kind):
                groups[at] = (first, count + 1)
                break
        else:
            groups.append((answer, 1))
    return max(groups, key=lambda group: group[1])[0] if groups else None


def pass_at_k(n: int, right: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples is right, from `right` of n.

    1 - C(n - right, k) / C(n, k); 1 - (1 - right / n)^k is biased downwards.
    Source: Chen et al. (2021), Evaluating large language models trained on code, equation 1.

    Raises:
        ValueError: k is not in 1..n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples, got {n}")
    return 1.0 - comb(n - right, k) / comb(n, k)


def sample_metrics(sampled: Sequence[Sampled], golds: Sequence[tuple[str, Choices, AnswerKind]]) -> dict[str, Any]:
    """Majority vote with its interval and pass@k for k = 1, 2, 4, ..., K; `golds` in the order of `sampled`."""
    if not sampled:
        return {}
    count = min(len(walks.answers) for walks in sampled)
    votes = [
        judge(majority(walks.answers, choices, kind), gold, choices, kind)
        for walks, (gold, choices, kind) in zip(sampled, golds, strict=True)
    ]
    vote = wilson(votes.count("right"), len(votes))
    metrics: dict[str, Any] = {
        "samples": count,
        "majority": vote.estimate,
        "majority_interval": [vote.low, vote.high],
        "pass_at_k": {},
    }
    k = 1
    while k <= count:
        each = [pass_at_k(len(walks.verdicts), walks.verdicts.count("right"), k) for walks in sampled]
        interval = average([each]).interval() if len(each) > 1 else None
        metrics["pass_at_k"][str(k)] = {
            "estimate": sum(each) / len(each),
            "interval": None if interval is None else [max(0.0, interval.low), min(1.0, interval.high)],
        }
        k = count if k < count < 2 * k else 2 * k
    return metrics
