"""Tables for a paper: TeX that prints what it should, stars after Holm alone, CSV with every digit."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from cotdistill.escaping import tex
from cotdistill.report.comparison import Results, against_baseline
from cotdistill.report.paper import comparison_table, results_table, stars_of
from tests.report.test_comparison import cell

N = 300


@pytest.fixture
def results(tmp_path: Path) -> Results:
    draw = np.random.default_rng(0)
    made = [
        cell(tmp_path, arm, seed, draw.random(N) < skill)
        for seed in range(3)
        for arm, skill in (("base_line", 0.5), ("a&b", 0.8), ("same", 0.5))
    ]
    return Results(tmp_path, made)


def test_results_have_intervals_and_stars_only_for_what_differs(results: Results) -> None:
    comparisons = against_baseline(results, "base_line", [])
    table = results_table(results, comparisons, "base_line")
    lines = {line.split(" &")[0]: line for line in table.tex().splitlines() if line.endswith("\\\\")}
    interval = results.outcomes("a&b", ["in"]).interval  # type: ignore[union-attr]
    stars = stars_of(next(one for one in comparisons if one["name"] == "a&b"))
    assert stars
    assert f"a\\&b & ${100 * interval.estimate:.1f}^{{{stars}}}$ [${100 * interval.low:.1f}$" in lines["a\\&b"]
    assert "^" not in lines["same"]
    assert "^" not in lines["base\\_line"]
    assert "after Holm's correction over 2 comparisons" in table.tex()
    assert "\\toprule" in table.tex()


def test_a_grid_without_comparisons_has_no_family(results: Results) -> None:
    text = results_table(results, [], "base_line").tex()
    assert "over 0 comparisons" not in text
    assert "Holm" not in text
    assert "intervals over seeds and questions" in text


def test_intervals_of_single_runs_are_not_over_seeds(tmp_path: Path) -> None:
    hits = np.random.default_rng(0).random(N) < 0.5
    results = Results(tmp_path, [cell(tmp_path, arm, 0, hits) for arm in ("base", "other")])
    assert "intervals over questions" in results_table(results, [], "base").tex()
    assert "seeds" not in results_table(results, [], "base").tex()


def test_stars_are_of_the_corrected_p() -> None:
    assert [stars_of({"p": 0.001, "p_holm": p}) for p in (0.2, 0.049, 0.009, 0.0009, None)] == [
        "",
        "*",
        "**",
        "***",
        "",
    ]


def test_csv_holds_every_digit(results: Results) -> None:
    comparisons = against_baseline(results, "base_line", [])
    table = comparison_table(comparisons, "set", "seeds and questions")
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert [float(row["difference"]) for row in rows] == [one["difference"] for one in comparisons]
    assert [float(row["low"]) for row in rows] == [one["interval"][0] for one in comparisons]
    assert [row["name"] for row in rows] == ["a&b", "same"]


def test_files_are_the_same_bytes_again(results: Results, tmp_path: Path) -> None:
    comparisons = against_baseline(results, "base_line", [])
    for folder in ("one", "two"):
        results_table(results, comparisons, "base_line").write(tmp_path / folder)
        comparison_table(comparisons, "set", "seeds").write(tmp_path / folder)
    for name in ("results.tex", "results.csv", "comparisons.tex", "comparisons.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("50% of $x_1 & #2", "50\\% of \\$x\\_1 \\& \\#2"),
        ("\\input{secret}", "\\textbackslash{}input\\{secret\\}"),
        ("a^b~c", "a\\textasciicircum{}b\\textasciitilde{}c"),
        ("cot--long\n% comment", "cot-{}-long \\% comment"),
        ("\x1b[31m", "\\textbackslash{}x1b[31m"),
        ("naïve – ✓", "naïve – ✓"),
    ],
)
def test_tex_prints_the_text_and_nothing_else(text: str, printed: str) -> None:
    assert tex(text) == printed
