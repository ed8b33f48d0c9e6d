"""Calibration: is a student right as often as it is sure? Calibration error, Brier score, risk and coverage.

Confidence is read from likelihoods, never asked for in words: over the choices, softmax of the choices' log
likelihoods in the place of the answer; for a free answer exp of the mean log likelihood of its own tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
Floats = NDArray[np.float64]


def choice_confidence(log_likelihoods: Sequence[float], at: int) -> float:
    """The share of choice `at` in the likelihood of all choices: softmax of their sums, in [0, 1]."""
    values = np.asarray(log_likelihoods, dtype=float)
    shares = np.exp(values - values.max())
    return float(shares[at] / shares.sum())


def token_confidence(log_likelihood: float, tokens: int) -> float:
    """The geometric mean of the probabilities of an answer's own tokens."""
    return float(np.exp(log_likelihood / max(1, tokens)))


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """Expected calibration error, Brier score, reliability bins and the risk-coverage curve of one set.

    Confidence and outcome [items]; items without a confidence (unparsed) are the caller's to count.
    """
    sure, outcome = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if not len(sure):
        return {"n": 0}
    bins = reliability(sure, outcome)
    coverage, risk = risk_coverage(sure, outcome)
    return {
        "n": len(sure),
        "mean_confidence": float(sure.mean()),
        "ece": expected_calibration_error(sure, outcome),
        "brier": brier(sure, outcome),
        "aurc": area_under_risk_coverage(sure, outcome),
        "reliability": bins,
        "risk_coverage": [[float(c), float(r)] for c, r in zip(coverage, risk, strict=True)],
    }


def reliability(confidence: Floats, right: Floats, bins: int = BINS) -> list[dict[str, float]]:
    """One record per non-empty bin of equal width (low, high]: how many items, mean confidence, accuracy."""
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for place in np.unique(places):
        inside = places == place
        rows.append(
            {
                "low": float(place / bins),
                "high": float((place + 1) / bins),
                "n": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
            }
        )
    return rows


def expected_calibration_error(confidence: Floats, right: Floats, bins: int = BINS) -> float:
    """Σ_bins n_b / n |accuracy_b - confidence_b|: never smaller than |mean accuracy - mean confidence|.

    Source: Guo et al. (2017), On calibration of modern neural networks, equation 3.
    """
    rows = reliability(confidence, right, bins)
    return float(sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in rows) / len(confidence))


def brier(confidence: Floats, right: Floats) -> float:
    """Mean squared distance of confidence and outcome (Brier, 1950), of the answer given: 0 is best."""
    return float(np.mean((confidence - right) ** 2))


def risk_coverage(confidence: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Share of items answered and error among them, if only the surest are; one point per distinct confidence.

    Items of equal confidence enter together: within a tie there is no order.
    Source: El-Yaniv & Wiener (2010), On the foundations of noise-free selective classification.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(1 - right[order])
    counts = np.arange(1, len(order) + 1)
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    return (counts / len(order))[last_of_tie], (wrong / counts)[last_of_tie]


def area_under_risk_coverage(confidence: Floats, right: Floats) -> float:
    """Mean risk over coverage, one step per tie; the error rate itself where confidence carries no information."""
    coverage, risk = risk_coverage(confidence, right)
    return float((risk * np.diff(coverage, prepend=0.0)).sum())
