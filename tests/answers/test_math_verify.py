"""--extractor math-verify: every LaTeX answer is right against itself, and nothing is right by its first digit."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from cotdistill.answers.judging import judge_math

pytest.importorskip("math_verify")
GOLD = [
    "\\frac{1}{2}", "\\dfrac{7}{3}", "3\\pi", "2\\sqrt{3}", "[2,5)", "(1,2)", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    "1 \\pm \\sqrt{19}", "\\text{east}", "\\frac{\\sqrt{2}}{2}", "x^2+1", "\\{1,2,3\\}", "\\infty", "10^{4}", "90^\\circ",
    "-\\frac{3}{4}", "2\\frac{1}{2}", "\\sqrt[3]{2}", "\\log_2 3", "x \\in [0,1]", "1,000", "0.5", "58 500", "2 2/3", "a+b",
]  # fmt: skip


@pytest.mark.parametrize("gold", GOLD)
@pytest.mark.parametrize("form", ["{}", "${}$", "\\boxed{{{}}}", "The answer is ${}$.", "The answer is {}.", "So $\\boxed{{{}}}$.",
                                  "\\({}\\)", "<think>12</think>The answer is {}"])  # fmt: skip
def test_an_answer_is_right_against_itself(gold: str, form: str) -> None:
    assert judge_math(form.format(gold), gold, None, "text")[1] == "right"


@pytest.mark.parametrize(("output", "gold"), [
    ("3", "3\\pi"), ("3\\pi", "3"), ("The answer is 3\\pi.", "3"), ("2\\sqrt{7}", "2\\sqrt{3}"), ("The answer is 2\\sqrt{7}.", "2\\sqrt{3}"),
    ("2 2/3", "2"), ("2\\frac{2}{3}", "2"), ("3x", "3"), ("[2,5]", "[2,5)"), ("(2,1)", "(1,2)"), ("\\frac{1}{3}", "\\frac{1}{2}"),
    ("58 500", "58"), ("10^{4}", "10"), ("1 + \\sqrt{19}", "1 \\pm \\sqrt{19}")])  # fmt: skip
def test_another_answer_is_wrong(output: str, gold: str) -> None:
    assert judge_math(output, gold, None, "text")[1] == "wrong"


@pytest.mark.parametrize(("output", "gold"), [
    ("0.5", "\\frac{1}{2}"), ("\\frac{2}{4}", "1/2"), ("18 apples", "18"), ("5/2", "2\\frac{1}{2}"), ("\\frac{8}{3}", "2 2/3"),
    ("x=5", "5"), ("six times three is 18. The answer is 18.", "18")])  # fmt: skip
def test_another_writing_is_right(output: str, gold: str) -> None:
    assert judge_math(output, gold, None, "text")[1] == "right"
