"""Figures: the same numbers give the same bytes, as SVG in the page's own colour and as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure as Drawing

from cotdistill.report import plots as figures
from cotdistill.report.plots import Point

POINTS = [Point("cot", 0.5, 0.4, 0.6, x=0.7, x_low=0.6, x_high=0.8, floor=0.2), Point("scott", 0.6, 0.5, 0.7, x=0.5)]
DRAWINGS = {
    "forest": lambda: figures.forest({"in": POINTS, "out": POINTS}, "base", "questions"),
    "scatter": lambda: figures.scatter(POINTS, "in", "out"),
    "cost": lambda: figures.cost(POINTS, "all"),
    "curves": lambda: figures.curves({"key words": POINTS}, "words kept", "all", {"base": 0.4}),
    "bars": lambda: figures.bars({"follows": POINTS}),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_numbers_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    first = figures.save(DRAWINGS[name](), tmp_path / "a", name)
    second = figures.save(DRAWINGS[name](), tmp_path / "b", name)
    assert first == second
    assert (tmp_path / "a" / f"{name}.png").read_bytes() == (tmp_path / "b" / f"{name}.png").read_bytes()
    assert (tmp_path / "a" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", DRAWINGS)
def test_ink_follows_the_page_and_labels_are_text(name: str, tmp_path: Path) -> None:
    svg = figures.save(DRAWINGS[name](), tmp_path, name)
    assert "currentColor" in svg
    assert figures.INK not in svg
    assert "<text" in svg
    assert "<script" not in svg


def legend(drawing: Drawing) -> list[str]:
    return [text.get_text() for text in drawing.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("draw", [lambda p: figures.scatter(p, "in", "out"), lambda p: figures.cost(p, "all")])
def test_a_legend_is_in_the_order_of_its_points(draw: Callable[[list[Point]], Drawing]) -> None:
    points = [Point(name, value, 0, 1, x=0.5) for name, value in (("low", 0.2), ("high", 0.9), ("middle", 0.5))]
    assert legend(draw(points)) == ["high", "middle", "low"]


def test_curves_are_named_from_the_highest_end_down() -> None:
    ends = {"falls": (0.9, 0.1), "rises": (0.2, 0.8)}
    lines = {name: [Point(name, y, 0, 1, x=x) for x, y in enumerate(ys)] for name, ys in ends.items()}
    assert legend(figures.curves(lines, "words kept", "all", {"base": 0.4})) == ["rises", "base", "falls"]


def test_a_forest_names_sets_from_the_top_down_and_says_what_its_intervals_are_over() -> None:
    drawing = figures.forest({"in": POINTS, "out": POINTS}, "base", "clusters")
    axes = drawing.axes[0]
    heights = {bars.get_label(): bars.lines[0].get_ydata()[0] for bars in axes.containers}
    assert legend(drawing) == sorted(heights, key=heights.__getitem__)  # its axis points down
    assert axes.yaxis_inverted()
    assert axes.get_xlabel().endswith("(95 % interval over clusters)")
