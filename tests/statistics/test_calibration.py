"""Calibration against worked examples, and where a shorter formula would mislead."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from cotdistill.statistics.calibration import (
    area_under_risk_coverage,
    brier,
    calibration,
    choice_confidence,
    expected_calibration_error,
    reliability,
    risk_coverage,
)


def test_ece_sees_what_the_difference_of_means_hides() -> None:
    sure = np.array([0.95, 0.95, 0.15, 0.15])
    right = np.array([0.0, 1.0, 1.0, 0.0])  # 50 % in both bins: means agree within 5 points, bins do not
    assert abs(sure.mean() - right.mean()) == pytest.approx(0.05)
    assert expected_calibration_error(sure, right) == pytest.approx(0.4)


def test_bins_are_closed_above_and_zero_falls_into_the_first() -> None:
    bins = reliability(np.array([0.0, 0.1, 0.1001, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert [(b["low"], b["n"]) for b in bins] == [(0.0, 2), (0.1, 1), (0.9, 1)]


def test_brier_agrees_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    sure, right = draw.random(200), (draw.random(200) < 0.4).astype(float)
    assert brier(sure, right) == pytest.approx(brier_score_loss(right, sure))


def test_ties_enter_risk_and_coverage_together() -> None:
    sure, right = np.array([0.9, 0.9, 0.9, 0.9, 0.2]), np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    coverage, risk = risk_coverage(sure, right)
    assert coverage.tolist() == [0.8, 1.0]
    assert risk.tolist() == pytest.approx([0.5, 0.6])  # in row order the first point would be a risk of 0
    shuffled = risk_coverage(sure[[3, 2, 1, 0, 4]], right[[3, 2, 1, 0, 4]])
    assert np.allclose(shuffled[1], risk)


def test_a_confidence_that_says_nothing_has_the_error_rate_as_area() -> None:
    right = np.array([1.0, 0.0, 1.0, 1.0])
    assert area_under_risk_coverage(np.full(4, 0.7), right) == pytest.approx(0.25)


def test_confidence_does_not_overflow() -> None:
    assert choice_confidence([-1000.0, -1001.0], 0) == pytest.approx(0.7310586)


def test_nothing_to_calibrate_is_said() -> None:
    assert calibration([], []) == {"n": 0}
