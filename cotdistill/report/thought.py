"""Accuracy over a budget of thought (`--think-budgets`): a curve per question set, of a grid's arms or of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from cotdistill.data.files import JsonObject
from cotdistill.report import plots as figures
from cotdistill.report.comparison import Outcomes, Results
from cotdistill.report.description import Description
from cotdistill.report.page import Block, Figure, Table, Text, Value
from cotdistill.report.plots import Point
from cotdistill.report.tables import percent
from cotdistill.strategies.studies import AT_BUDGET

ACROSS = "tokens of thought before the answer is forced"
Lines = Mapping[str, Sequence[Point]]


def thought_curves(results: Results, description: Description, _: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """A figure for each set: every arm that was asked under budgets, and dashed the same without one."""
    drawn = []
    for name in results.sets:
        lines = {
            arm: [Point(arm, *_estimate(found), x=budget) for budget, found in points]
            for arm in results.arms
            if (points := _points(results, arm, name))
        }
        levels = {
            arm: found.interval.estimate
            for arm in (*lines, *_floors(results))
            if (found := results.outcomes(arm, [name]))
        }
        if lines:
            says = (
                f"{name}: accuracy when the rationale is cut after so many tokens; dashed: the same arm without a "
                f"budget, and the floors. Error bars: 95 % over {results.over}."
            )
            drawing = _drawing(lines, name, levels)
            drawn.append(Figure(f"thought-{name}", figures.save(drawing, folder, f"thought-{name}"), says))
    return drawn


def thought_blocks(results: Results) -> list[Block]:
    """The same as a table: a row for each arm and budget; empty where no arm was asked under one."""
    rows = []
    for arm in results.arms:
        budgets = _budgets(results, arm)
        for measure in [*(f"{AT_BUDGET}{budget}" for budget in budgets), *(["accuracy"] if budgets else [])]:
            shown = measure.removeprefix(AT_BUDGET) if measure != "accuracy" else "none"
            found = [results.outcomes(arm, [name], measure) for name in results.sets]
            rows.append([Value(arm), Value(shown), *(Value("-" if one is None else _cell(one)) for one in found)])
    if not rows:
        return []
    says = (
        "Accuracy in percent with its 95 % interval when the rationale is cut after so many tokens and the answer is "
        "forced; none: the student ends its rationale itself."
    )
    return [Table(["arm", "budget, tokens", *results.sets], rows), Text(says)]


def thought_figures(records: Sequence[JsonObject]) -> list[Figure]:
    """A figure for each set of runs that were evaluated under several budgets; `records` as `evaluate` prints them."""
    drawn = []
    for name in dict.fromkeys(r["set"] for r in records):
        lines: dict[str, list[Point]] = {}
        for r in records:
            if r["set"] == name and (budget := r.get("think_budget")) is not None:
                low, high = r["interval"]
                lines.setdefault(r["name"], []).append(Point(r["name"], r["accuracy"], low, high, x=budget))
        if any(len(points) > 1 for points in lines.values()):
            says = f"{name}: accuracy when the rationale is cut after so many tokens. Error bars: 95 % over questions."
            drawn.append(Figure(f"thought-{name}", figures.inline(_drawing(lines, name, {})), says))
    return drawn


def _drawing(lines: Lines, name: str, levels: Mapping[str, float]) -> Drawing:
    """The curves, a little beside one another, so that their error bars can be told apart."""
    budgets = sorted({point.x for points in lines.values() for point in points})
    step = 0.01 * (budgets[-1] - budgets[0])
    apart = {
        arm: [replace(point, x=point.x + step * (at - (len(lines) - 1) / 2)) for point in points]
        for at, (arm, points) in enumerate(lines.items())
    }
    drawing = figures.curves(apart, ACROSS, name, levels)
    drawing.axes[0].set_xticks(budgets)
    return drawing


def _budgets(results: Results, arm: str) -> list[int]:
    return sorted({int(budget) for record in results.of(arm) for budget in record.get("budgets", ())})


def _points(results: Results, arm: str, name: str) -> list[tuple[int, Outcomes]]:
    asked = [(budget, results.outcomes(arm, [name], f"{AT_BUDGET}{budget}")) for budget in _budgets(results, arm)]
    return [(budget, found) for budget, found in asked if found is not None]


def _floors(results: Results) -> list[str]:
    """Controls that have no thought to cut."""
    return [arm for arm in results.arms if results.of(arm)[0]["role"] == "control" and not _budgets(results, arm)]


def _estimate(found: Outcomes) -> tuple[float, float, float]:
    return found.interval.estimate, found.interval.low, found.interval.high


def _cell(found: Outcomes) -> str:
    estimate, low, high = map(percent, _estimate(found))
    return f"{estimate} ({low} to {high})"
