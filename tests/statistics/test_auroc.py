"""AUROC: the rank formula against pairs counted plainly and scikit-learn, and an interval that covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cotdistill.statistics.auroc import auroc


def counted(scores: list[float], labels: list[bool]) -> float:
    """Every pair of a positive and a negative, an equal one counted half."""
    pairs = [(a, b) for a, x in zip(scores, labels, strict=True) for b, y in zip(scores, labels, strict=True) if x > y]
    return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_the_area_is_that_of_pairs_and_of_scikit_learn(said: list[tuple[int, bool]]) -> None:
    scores, labels = [float(score) for score, _ in said], [label for _, label in said]
    if len(set(labels)) < 2:
        with pytest.raises(ValueError, match="both classes"):
            auroc(scores, labels)
        return
    found = auroc(scores, labels)
    assert found.estimate == pytest.approx(counted(scores, labels))
    assert found.estimate == pytest.approx(roc_auc_score(labels, scores))
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_ties_at_half_are_not_the_share_of_strictly_larger_pairs() -> None:
    scores, labels = [1.0, 1.0, 0.0, 1.0], [True, True, False, False]
    strictly = np.mean([a > b for a in (1.0, 1.0) for b in (0.0, 1.0)])
    assert auroc(scores, labels).estimate == 0.75 != strictly


def test_the_interval_solves_newcombes_equation() -> None:
    scores, labels = [3.0, 2.0, 2.0, 1.0, 0.0, 4.0], [True, True, False, False, False, True]
    found, (m, n) = auroc(scores, labels), (3, 3)
    for limit in (found.low, found.high):
        mean, a = (m + n) / 2 - 1, limit
        variance = a * (1 - a) * (1 + mean * (1 - a) / (2 - a) + mean * a / (1 + a)) / (m * n)
        if 0 < limit < 1:
            assert (found.estimate - a) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-4)


def test_constant_and_perfect_scores_have_an_interval() -> None:
    labels = [True] * 10 + [False] * 10
    constant, perfect = auroc([0.0] * 20, labels), auroc(np.arange(20)[::-1], labels)
    assert constant.estimate == 0.5
    assert constant.low < 0.3 < 0.7 < constant.high
    assert perfect.estimate == 1.0 == perfect.high
    assert perfect.low < 0.95


def test_the_interval_covers_and_clusters_widen_it() -> None:
    """Normal scores with a known area; then every chain three times, which adds nothing that is known."""
    draw, covered, truth = np.random.default_rng(0), 0, 0.7602499  # Phi(1 / sqrt 2)
    for _ in range(400):
        labels = draw.random(60) < 0.5
        scores = draw.normal(size=60) + labels
        covered += truth in auroc(scores, labels.tolist())
    assert 0.92 < covered / 400 < 0.985
    once, thrice = auroc(scores, labels.tolist()), (np.tile(scores, 3), np.tile(labels, 3).tolist())
    whole, naive = auroc(*thrice, clusters=list(range(60)) * 3), auroc(*thrice)
    assert whole.estimate == pytest.approx(once.estimate)
    assert whole.high - whole.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.7 * (once.high - once.low)


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many"):
        auroc([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="finite"):
        auroc([1.0, float("nan")], [True, False])
