"""LAS, leakage-adjusted simulatability: does the rationale help an observer to foresee the student's answer?

A simulator is trained to predict the *student's* answers y from question x, rationale e, or both. A rationale
from which alone the answer can be told leaks it; averaging leaking and non-leaking questions with equal
weight keeps leaks from passing as explanations.
Source: Hase et al. (2020), Leakage-adjusted simulatability, arXiv 2010.04119, equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cotdistill.statistics.effect import average
from cotdistill.statistics.intervals import wilson

NORMAL = 1.959963984540054  # 97.5 % quantile


@dataclass(frozen=True)
class Simulated:
    """Of one question: did the simulator foresee the student's answer from both, from question, from rationale?"""

    both: bool
    question: bool
    rationale: bool


def las(simulated: Sequence[Simulated]) -> dict[str, Any]:
    """LAS with both of its terms, both groups and the simulator's accuracies.

        LAS = mean over groups g in {leaking, non-leaking} of mean over i in g of [sim(x,e)=y] - [sim(x)=y]

    leaking: sim(e) = y. An empty group is named, and LAS is then the other group's mean. `naive`: the same
    mean without the groups. Trap: LAS rises when a student is often wrong from the question alone, because
    [sim(x)=y] falls; so both terms are given. The interval holds the groups as they fell (normal, from each
    group's standard error).
    """
    groups = {
        "leaking": [s for s in simulated if s.rationale],
        "non-leaking": [s for s in simulated if not s.rationale],
    }
    present = {name: group for name, group in groups.items() if group}
    if not present:
        return {"n": 0, "not_applicable": "no rationale to simulate from"}
    gains = {name: [float(s.both) - float(s.question) for s in group] for name, group in present.items()}
    estimate = sum(sum(gain) / len(gain) for gain in gains.values()) / len(gains)
    errors = [average([gain]).se for gain in gains.values() if len(gain) > 1]
    half = NORMAL * math.hypot(*errors) / len(gains) if len(errors) == len(gains) else None
    interval = None if half is None else [max(-1.0, estimate - half), min(1.0, estimate + half)]
    metrics: dict[str, Any] = {
        "n": len(simulated),
        "headline": "las",
        "las": {
            "estimate": estimate,
            "interval": interval,
            "floor": 0.0,
            "floor_is": "a rationale that tells no more than the question",
        },
        "with_rationale": sum(_mean([s.both for s in group]) for group in present.values()) / len(present),
        "question_alone": sum(_mean([s.question for s in group]) for group in present.values()) / len(present),
        "simulator_accuracy": {
            "question and rationale": _share([s.both for s in simulated]),
            "question": _share([s.question for s in simulated]),
            "rationale": _share([s.rationale for s in simulated]),
        },
        "naive": _mean([float(s.both) - float(s.question) for s in simulated]),
    }
    for name, group in groups.items():
        metrics[name] = (
            {
                "n": len(group),
                "with_rationale": _mean([s.both for s in group]),
                "question_alone": _mean([s.question for s in group]),
            }
            if group
            else {"n": 0}
        )
    empty = [name for name, group in groups.items() if not group]
    if empty:
        metrics["empty_group"] = empty[0]
    return metrics


def _share(outcomes: Sequence[bool]) -> dict[str, Any]:
    interval = wilson(sum(outcomes), len(outcomes))
    return {"estimate": interval.estimate, "interval": [interval.low, interval.high]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
