"""Majority vote and pass@k."""

from __future__ import annotations

from itertools import combinations

import pytest

from cotdistill.evaluation.samples import Sampled, majority, pass_at_k, sample_metrics


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one() -> None:
    for n, right, k in [(5, 2, 2), (8, 1, 4), (4, 0, 3), (3, 3, 1), (6, 4, 3)]:
        draws = list(combinations([True] * right + [False] * (n - right), k))
        assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pytest.approx(0.64) == 1 - (1 - 2 / 5) ** 2  # the formula with replacement is biased


def test_pass_at_k_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        pass_at_k(3, 1, 4)


def test_equal_numbers_vote_together_and_ties_go_to_the_first_drawn() -> None:
    assert majority(["7", "1,000", "7.0", "1000", "1000.0"], None, "number") == "1,000"
    assert majority(["no", None, "yes", "yes", "no"], ("yes", "no"), "yesno") == "no"
    assert majority([None, None], None, "number") is None


def test_figures_of_samples() -> None:
    rows = [
        Sampled(id="a", outputs=("1", "2", "2"), answers=("1", "2", "2"), verdicts=("right", "wrong", "wrong")),
        Sampled(id="b", outputs=("3", "3", "x"), answers=("3", "3", None), verdicts=("right", "right", "unparsed")),
    ]
    found = sample_metrics(rows, [("1", None, "number"), ("3", None, "number")])
    assert found["majority"] == 0.5
    assert found["pass_at_k"]["1"]["estimate"] == pytest.approx(0.5)
    assert found["pass_at_k"]["3"]["estimate"] == 1.0
    assert list(found["pass_at_k"]) == ["1", "2", "3"]
