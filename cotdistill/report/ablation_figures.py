"""Which figures an ablation gets: those its arms have the numbers for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from cotdistill.data.files import JsonObject
from cotdistill.report import plots as figures
from cotdistill.report.comparison import PROBE_MEASURES, Outcomes, Results
from cotdistill.report.description import Description
from cotdistill.report.page import Figure
from cotdistill.report.plots import Point
from cotdistill.report.thought import thought_curves


def draw(results: Results, description: Description, comparisons: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """Draw and save every figure that applies, in the order of the page."""
    makers: tuple[Callable[..., list[Figure]], ...] = (
        forest_figure,
        in_and_out,
        dose_curves,
        thought_curves,
        faithfulness_figure,
        inference_cost,
        learning,
    )
    return [figure for make in makers for figure in make(results, description, comparisons, folder)]


def forest_figure(
    results: Results, description: Description, comparisons: Sequence[JsonObject], folder: Path
) -> list[Figure]:
    """Every arm against the baseline."""
    by_set: dict[str, list[Point]] = {
        name: [
            Point(c["name"], c["difference"], *c["interval"])
            for c in comparisons
            if c["sets"] == [name] and c["baseline"] == description.baseline
        ]
        for name in results.sets
    }
    if not any(by_set.values()):
        return []
    drawing = figures.forest(by_set, description.baseline, results.over)
    return [
        _saved(
            drawing,
            folder,
            "forest",
            f"Every arm minus {description.baseline}, with 95 % intervals over "
            f"{results.over} (comparisons.jsonl). Right of the line: better than the baseline.",
        )
    ]


def in_and_out(results: Results, description: Description, _: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """In-domain against out-of-domain accuracy."""
    outside = _outside(results, description)
    points = []
    for arm in results.arms if outside else ():
        inner, outer = results.outcomes(arm, [description.in_domain]), results.outcomes(arm, outside)
        if inner and outer:
            points.append(Point(arm, *_estimate(outer), *_estimate(inner)))
    if not points:
        return []
    drawing = figures.scatter(points, description.in_domain, " + ".join(outside))
    return [
        _saved(
            drawing,
            folder,
            "in-and-out",
            "Accuracy in domain (across) and out of domain (up); on the dotted "
            "line both are equal. Teacher and untrained student have one run each.",
        )
    ]


def dose_curves(results: Results, description: Description, _: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """Key words kept, words masked: accuracy over how much of the rationale is left."""
    drawn = []
    for what in dict.fromkeys(axis for _, axis, _ in description.curves.values()):
        lines: dict[str, list[Point]] = {}
        for arm, (curve, axis, amount) in description.curves.items():
            if axis == what and (outcomes := results.outcomes(arm, results.sets)):
                lines.setdefault(curve, []).append(Point(arm, *_estimate(outcomes), x=amount))
        levels = {
            arm: outcomes.interval.estimate
            for arm in (description.baseline, *_floors(results))
            if (outcomes := results.outcomes(arm, results.sets))
        }
        if any(len({point.x for point in points}) > 1 for points in lines.values()):  # one dose makes no curve
            name = "-".join(what.split()).replace("%", "percent")
            drawn.append(
                _saved(
                    figures.curves(lines, what, "all sets", levels),
                    folder,
                    name,
                    f"Accuracy over the {what}, all sets together; dashed: "
                    f"{', '.join(levels)}. Error bars: 95 % over {results.over}.",
                )
            )
    return drawn


def faithfulness_figure(
    results: Results, description: Description, _: Sequence[JsonObject], folder: Path
) -> list[Figure]:
    """Probes, with their floors."""
    by_measure: dict[str, list[Point]] = {}
    for measure in PROBE_MEASURES:
        for arm in results.arms:
            outcomes = results.outcomes(arm, results.sets, measure)
            if outcomes:
                floor = results.outcomes(arm, results.sets, f"floor: {measure}")
                by_measure.setdefault(measure, []).append(
                    Point(arm, *_estimate(outcomes), floor=floor.interval.estimate if floor else None)
                )
    if not by_measure:
        return []
    return [
        _saved(
            figures.bars(by_measure),
            folder,
            "faithfulness",
            "How far answers depend on the rationale that is "
            "given: share of questions with 95 % intervals, all sets together. A thick line marks the floor.",
        )
    ]


def inference_cost(results: Results, description: Description, _: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """Accuracy over tokens at inference."""
    points = []
    for arm in results.arms:
        outcomes, records = results.outcomes(arm, results.sets), results.of(arm)
        if outcomes and records[0]["role"] != "teacher":  # another model: its tokens are not the students'
            tokens = [metrics["forwarded_per_question"] for record in records for metrics in record["sets"].values()]
            points.append(Point(arm, *_estimate(outcomes), x=sum(tokens) / len(tokens)))
    if not points:
        return []
    return [
        _saved(
            figures.cost(points, "all sets"),
            folder,
            "cost",
            "Accuracy over what one question costs at "
            f"inference, all sets together; error bars: 95 % over {results.over}.",
        )
    ]


def learning(results: Results, description: Description, _: Sequence[JsonObject], folder: Path) -> list[Figure]:
    """Accuracy over the number of training rows."""
    lines: dict[str, list[Point]] = {}
    for arm in results.arms:
        record, outcomes = results.of(arm)[0], results.outcomes(arm, results.sets)
        if outcomes and record["role"] in ("strategy", "control") and record["control"] is None:
            curve = arm.split(" [")[0] + (f" [{record['decoding']}]" if record["decoding"] != "greedy" else "")
            lines.setdefault(curve, []).append(Point(arm, *_estimate(outcomes), x=record["rows"]))
    lines = {name: points for name, points in lines.items() if len({point.x for point in points}) > 1}
    if not lines:
        return []
    return [
        _saved(
            figures.curves(lines, "training rows", "all sets", {}),
            folder,
            "learning",
            "Accuracy over the number of training rows, all sets together.",
        )
    ]


def _saved(drawing: Drawing, folder: Path, name: str, says: str) -> Figure:
    return Figure(name, figures.save(drawing, folder, name), says)


def _estimate(outcomes: Outcomes) -> tuple[float, float, float]:
    return outcomes.interval.estimate, outcomes.interval.low, outcomes.interval.high


def _outside(results: Results, description: Description) -> list[str]:
    return [name for name in results.sets if name != description.in_domain]


def _floors(results: Results) -> list[str]:
    return [
        arm
        for arm in results.arms
        if (record := results.of(arm)[0])["role"] == "control" and record["control"] in (None, "swapped")
    ]
