"""Pages: self-contained, escaped, the same content in both formats."""

from __future__ import annotations

import re

import pytest

from cotdistill.report.page import Bullets, Figure, Report, Section, Table, Text, Value, to_html, to_markdown

REPORT = Report(
    "A <b>title</b>",
    "Lead & more",
    [
        Section(
            "First things",
            [
                Text("1 < 2"),
                Bullets(["one", "two"]),
                Table(
                    ["arm", "accuracy"],
                    [[Value("a|b", link="there"), Value("50.0", source="cell-1, cell-2", anchor="here")]],
                ),
                Figure("forest", '<?xml version="1.0"?>\n<svg viewBox="0 0 1 1"></svg>', "A forest"),
            ],
        )
    ],
    "Made now",
)


def test_the_page_loads_nothing() -> None:
    page = to_html(REPORT)
    assert not re.findall(r"<(?:link|img|iframe)|url\(http|@import|src=|fetch\(|XMLHttpRequest|import\(", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_text_is_escaped_and_figures_are_drawn() -> None:
    page = to_html(REPORT)
    assert "<b>title</b>" not in page
    assert "1 &lt; 2" in page
    assert '<svg viewBox="0 0 1 1"></svg>' in page
    assert "<?xml" not in page


def test_numbers_carry_their_cells_and_anchors() -> None:
    page = to_html(REPORT)
    assert '<td id="here" title="cell-1, cell-2">50.0</td>' in page
    assert '<a href="#there">a|b</a>' in page
    assert '<a href="#first-things">First things</a>' in page


def test_markdown_has_the_same_content() -> None:
    text = to_markdown(REPORT)
    assert "| arm | accuracy |\n| --- | ---: |\n| a\\|b | 50.0 |" in text
    assert "## First things" in text
    assert "- one\n- two" in text
    assert "![A forest](figures/forest.svg)" in text
    assert text.rstrip().endswith("Made now")


def test_a_variable_that_is_missing_is_an_error() -> None:
    with pytest.raises(Exception, match="has no attribute"):
        to_html(None)  # type: ignore[arg-type]
