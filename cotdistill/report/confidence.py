"""Drawings of calibration: is an answer right as often as the student is sure, and how accurate are the surest ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Drawing

from cotdistill.report.plots import COLOURS, INK, MARKS, drawn


@drawn
def reliability_figure(lines: Mapping[str, Sequence[Mapping[str, float]]]) -> Drawing:
    """Accuracy over confidence, one mark per bin, sized by its answers; on the dotted line they agree."""
    figure = Drawing(figsize=(5.6, 4.2))
    axes = figure.add_subplot()
    axes.grid(True, color="#8c8c8c", alpha=0.25, linewidth=0.6)
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.6, linestyle=":")
    for at, (name, bins) in enumerate(lines.items()):
        xs, ys = [100 * bin_["confidence"] for bin_ in bins], [100 * bin_["accuracy"] for bin_ in bins]
        total = sum(bin_["n"] for bin_ in bins)
        colour = COLOURS[at % len(COLOURS)]
        axes.plot(xs, ys, color=colour, linewidth=1.1, label=name)
        axes.scatter(
            xs,
            ys,
            s=[12 + 160 * bin_["n"] / total for bin_ in bins],
            color=colour,
            alpha=0.7,
            marker=MARKS[at % len(MARKS)],
        )
    axes.set(xlabel="confidence %", ylabel="right %", xlim=(0, 102), ylim=(0, 102))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    return figure


@drawn
def risk_coverage_figure(lines: Mapping[str, Sequence[Sequence[float]]]) -> Drawing:
    """Error among the answers kept, over how many are kept, the surest first."""
    figure = Drawing(figsize=(5.6, 4.2))
    axes = figure.add_subplot()
    axes.grid(True, color="#8c8c8c", alpha=0.25, linewidth=0.6)
    for at, (name, points) in enumerate(lines.items()):
        axes.step(
            [100 * c for c, _ in points],
            [100 * r for _, r in points],
            where="post",
            color=COLOURS[at % len(COLOURS)],
            linewidth=1.3,
            label=name,
        )
    axes.set(xlabel="answers kept, surest first, %", ylabel="wrong among them %", xlim=(0, 102), ylim=(0, 102))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    return figure


def bins_of(records: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """{run's name: that entry of its calibration} of the runs that have one."""
    by_run = {}
    for record in records:
        entry = (record.get("calibration") or {}).get(name)
        if entry:
            by_run[record["name"]] = entry
    return by_run
