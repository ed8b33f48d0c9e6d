"""Which figures an ablation gets: those its arms have the numbers for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Drawing

from cotdistill.report import figures
from cotdistill.report.comparison import PROBED, Outcomes, Record, Results
from cotdistill.report.figures import Point
from cotdistill.report.page import Figure

if TYPE_CHECKING:
    from cotdistill.report.ablation import Description


def draw(results: Results, description: Description, comparisons: Sequence[Record], folder: Path) -> list[Figure]:
    """Draw and save every figure that applies, in the order of the page."""
    makers: tuple[Callable[..., list[Figure]], ...] = (forest, in_and_out, dose_curves, faithfulness, inference_cost,
                                                       learning)
    return [figure for make in makers for figure in make(results, description, comparisons, folder)]


def forest(results: Results, description: Description, comparisons: Sequence[Record], folder: Path) -> list[Figure]:
    """Every arm against the baseline."""
    by_set: dict[str, list[Point]] = {name: [Point(c["name"], c["difference"], *c["interval"]) for c in comparisons
                     if c["sets"] == [name] and c["baseline"] == description.baseline] for name in results.sets}
    if not any(by_set.values()):
        return []
    drawing = figures.forest(by_set, description.baseline)
    return [_saved(drawing, folder, "forest", f"Every arm minus {description.baseline}, with 95 % intervals over "
                   "seeds and questions (comparisons.jsonl). Right of the line: better than the baseline.")]


def in_and_out(results: Results, description: Description, _: Sequence[Record], folder: Path) -> list[Figure]:
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
    return [_saved(drawing, folder, "in-and-out", "Accuracy in domain (across) and out of domain (up); on the dotted "
                   "line both are equal. Teacher and untrained student have one run each.")]


def dose_curves(results: Results, description: Description, _: Sequence[Record], folder: Path) -> list[Figure]:
    """Key words kept, words masked: accuracy over how much of the rationale is left."""
    made = []
    for what in dict.fromkeys(axis for _, axis, _ in description.curves.values()):
        lines: dict[str, list[Point]] = {}
        for arm, (curve, axis, amount) in description.curves.items():
            if axis == what and (found := results.outcomes(arm, results.sets)):
                lines.setdefault(curve, []).append(Point(arm, *_estimate(found), x=amount))
        levels = {arm: found.interval.estimate for arm in (description.baseline, *_floors(results))
                  if (found := results.outcomes(arm, results.sets))}
        if lines:
            name = "-".join(what.split()).replace("%", "percent")
            made.append(_saved(figures.curves(lines, what, "all sets", levels), folder, name,
                               f"Accuracy over the {what}, all sets together; dashed: "
                               f"{', '.join(levels)}. Error bars: 95 % over seeds and questions."))
    return made


def faithfulness(results: Results, description: Description, _: Sequence[Record], folder: Path) -> list[Figure]:
    """Probes, with their floors."""
    by_measure: dict[str, list[Point]] = {}
    for measure in PROBED:
        for arm in results.arms:
            found = results.outcomes(arm, results.sets, measure)
            if found:
                floor = results.outcomes(arm, results.sets, f"floor: {measure}")
                by_measure.setdefault(measure, []).append(
                    Point(arm, *_estimate(found), floor=floor.interval.estimate if floor else None))
    if not by_measure:
        return []
    return [_saved(figures.bars(by_measure), folder, "faithfulness", "How far answers depend on the rationale that is "
                   "given: share of questions with 95 % intervals, all sets together. A thick line marks the floor.")]


def inference_cost(results: Results, description: Description, _: Sequence[Record], folder: Path) -> list[Figure]:
    """Accuracy over tokens at inference."""
    points = []
    for arm in results.arms:
        found, records = results.outcomes(arm, results.sets), results.of(arm)
        if found and records[0]["role"] != "teacher":  # another model: its tokens are not the students'
            tokens = [one["forwarded_per_question"] for record in records for one in record["sets"].values()]
            points.append(Point(arm, *_estimate(found), x=sum(tokens) / len(tokens)))
    if not points:
        return []
    return [_saved(figures.cost(points, "all sets"), folder, "cost", "Accuracy over what one question costs at "
                   "inference, all sets together; error bars: 95 % over seeds and questions.")]


def learning(results: Results, description: Description, _: Sequence[Record], folder: Path) -> list[Figure]:
    """Accuracy over the number of training rows."""
    lines: dict[str, list[Point]] = {}
    for arm in results.arms:
        record, found = results.of(arm)[0], results.outcomes(arm, results.sets)
        if found and record["role"] in ("strategy", "control") and record["control"] is None:
            curve = arm.split(" [")[0] + (f" [{record['decoding']}]" if record["decoding"] != "greedy" else "")
            lines.setdefault(curve, []).append(Point(arm, *_estimate(found), x=record["rows"]))
    lines = {name: points for name, points in lines.items() if len({point.x for point in points}) > 1}
    if not lines:
        return []
    return [_saved(figures.curves(lines, "training rows", "all sets", {}), folder, "learning",
                   "Accuracy over the number of training rows, all sets together.")]


def _saved(drawing: Drawing, folder: Path, name: str, says: str) -> Figure:
    return Figure(name, figures.save(drawing, folder, name), says)


def _estimate(found: Outcomes) -> tuple[float, float, float]:
    return found.interval.estimate, found.interval.low, found.interval.high


def _outside(results: Results, description: Description) -> list[str]:
    return [name for name in results.sets if name != description.in_domain]


def _floors(results: Results) -> list[str]:
    return [arm for arm in results.arms
            if (record := results.of(arm)[0])["role"] == "control" and record["control"] in (None, "swapped")]
