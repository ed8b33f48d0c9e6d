"""Figures: the same numbers give the same bytes, as SVG in the page's own colour and as PNG."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.report import figures
from cotdistill.report.figures import Point

POINTS = [Point("cot", 0.5, 0.4, 0.6, x=0.7, x_low=0.6, x_high=0.8, floor=0.2), Point("scott", 0.6, 0.5, 0.7, x=0.5)]
DRAWINGS = {
    "forest": lambda: figures.forest({"in": POINTS, "out": POINTS}, "base"),
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
