"""In and out of domain: pooled accuracies and the gap between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cotdistill.statistics.intervals import newcombe, wilson

Counts = tuple[int, int]  # right, n


def domains(sets: Mapping[str, Mapping[str, Counts]], inside: Sequence[str]) -> dict[str, Any]:
    """For `sets` {set: {task: (right, n)}}: micro and macro accuracy of the sets `inside` the training domain and of
    the others, and in-domain minus out-of-domain accuracy with its interval (other items, so Newcombe's).

    micro: over questions; macro: mean over tasks of all the domain's sets, so that a large
    task does not hide a small one.
    """
    outside = [name for name in sets if name not in inside]
    metrics: dict[str, Any] = {}
    for domain, names in (("in", [name for name in sets if name in inside]), ("out", outside)):
        if names:
            metrics[domain] = {"sets": names, **pooled([sets[name] for name in names])}
    if "in" in metrics and "out" in metrics:
        gap = newcombe(metrics["in"]["right"], metrics["in"]["n"], metrics["out"]["right"], metrics["out"]["n"])
        metrics["gap"] = {"estimate": gap.estimate, "interval": [gap.low, gap.high], "method": gap.method}
    return metrics


def pooled(tasks: Sequence[Mapping[str, Counts]]) -> dict[str, Any]:
    """Micro accuracy with its Wilson interval, and macro accuracy, of several sets."""
    counts: dict[str, Counts] = {}
    for task_counts in tasks:
        for task, (right, n) in task_counts.items():
            before = counts.get(task, (0, 0))
            counts[task] = (before[0] + right, before[1] + n)
    right, n = sum(c[0] for c in counts.values()), sum(c[1] for c in counts.values())
    micro = wilson(right, n)
    return {
        "right": right,
        "n": n,
        "micro": micro.estimate,
        "interval": [micro.low, micro.high],
        "macro": sum(c[0] / c[1] for c in counts.values()) / len(counts),
    }
