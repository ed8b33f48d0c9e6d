"""LAS, and how the plain mean would mislead."""

from __future__ import annotations

import pytest

from cotdistill.evaluation.las import Simulated, las


def rows(both: int, question: int, rationale: bool, n: int) -> list[Simulated]:
    """n questions of one group: the first `both` foreseen from both, the first `question` from the question."""
    return [Simulated(at < both, at < question, rationale) for at in range(n)]


def test_groups_weigh_alike_however_many_leak() -> None:
    simulated = rows(90, 45, True, 90) + rows(0, 5, False, 10)  # leaking: +50 points, the others: -50
    found = las(simulated)
    assert found["las"]["estimate"] == pytest.approx(0.0)
    assert found["naive"] == pytest.approx(0.4)  # leaks pass as explanations
    assert found["leaking"]["n"] == 90
    low, high = found["las"]["interval"]
    assert low < 0 < high


def test_both_terms_are_given() -> None:
    found = las(rows(8, 2, True, 10) + rows(6, 4, False, 10))
    assert found["with_rationale"] == pytest.approx(0.7)
    assert found["question_alone"] == pytest.approx(0.3)
    assert found["las"]["estimate"] == pytest.approx(0.4)
    assert found["simulator_accuracy"]["rationale"]["estimate"] == 0.5


def test_an_empty_group_is_named_and_not_a_nan() -> None:
    found = las(rows(8, 2, True, 10))
    assert found["empty_group"] == "non-leaking"
    assert found["non-leaking"] == {"n": 0}
    assert found["las"]["estimate"] == pytest.approx(0.6)
    assert "not_applicable" in las([])
