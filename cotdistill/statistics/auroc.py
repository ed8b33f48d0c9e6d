"""Area under the ROC curve: how often a score puts a positive above a negative, with an interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from cotdistill.statistics.intervals import Floats, Interval

METHOD = "Newcombe, Mann-Whitney"


def auroc(
    scores: ArrayLike, labels: Sequence[bool], clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> Interval:
    """P(score of a positive > score of a negative) + P(equal) / 2, with its interval.

    `scores` and `labels` are [chains]; `clusters` names what each belongs to, where several are not independent
    (steps of one rationale, seeds on one question).

        A = (R - m (m + 1) / 2) / (m n)        R: sum of the positives' ranks, ties at their mean rank

    The interval are the A' with |A - A'| = z sqrt(D V(A')), where V is Hanley and McNeil's variance with both
    sample sizes at their mean: it stays inside [0, 1] and keeps a width at 0, 1/2 and 1, where a bootstrap of a
    constant or perfect score has none. D is the design effect of the clusters, at least 1. Trap: with many ties
    (a yes-or-no score) V is too large, so the interval is too wide rather than too narrow.
    Source: Mann & Whitney (1947), Annals of Mathematical Statistics 18:50-60; Newcombe (2006), Confidence intervals
    for an effect size measure based on the Mann-Whitney statistic, part 2, Statistics in Medicine 25:559-573,
    method 5; for the clusters Obuchowski (1997), Biometrics 53:567-578.

    Raises:
        ValueError: other numbers of labels or clusters than of scores, a score that is not finite, or one class only.
    """
    values, positive = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if values.ndim != 1 or values.shape != positive.shape or (clusters is not None and len(clusters) != len(values)):
        raise ValueError(f"scores, labels and clusters must be equally many, got {values.shape}, {positive.shape}")
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n or not np.isfinite(values).all():
        raise ValueError(f"an AUROC needs finite scores of both classes, got {m} positives and {n} negatives")
    shares = _shares_beaten(values, positive)
    estimate = float(shares[positive].mean())
    effect = 1.0 if clusters is None else _design_effect(shares, positive, clusters)
    low = _lower(estimate, m, n, effect, level)
    high = 1 - _lower(1 - estimate, m, n, effect, level)
    return Interval(estimate, min(low, estimate), max(high, estimate), level, METHOD)


def _shares_beaten(values: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Of a positive the share of negatives that it beats, of a negative the share of positives that beat it.

    From ranks in O(N log N): a rank among all less the rank among its own class counts the other class below it.
    """
    shares, ranks = np.empty(len(values)), stats.rankdata(values)
    above = ranks[positive] - stats.rankdata(values[positive])
    below = ranks[~positive] - stats.rankdata(values[~positive])
    shares[positive], shares[~positive] = above / (~positive).sum(), 1 - below / positive.sum()
    return shares


def _lower(estimate: float, m: int, n: int, effect: float, level: float) -> float:
    """The lower limit; the upper one is that of 1 - A mirrored, since the variance is symmetric."""
    if estimate <= 0:
        return 0.0
    z, mean = float(stats.norm.ppf((1 + level) / 2)), (m + n) / 2 - 1

    def gap(a: float) -> float:
        variance = a * (1 - a) * (1 + mean * (1 - a) / (2 - a) + mean * a / (1 + a)) / (m * n)
        return estimate - a - z * math.sqrt(effect * variance)

    # Below the root the gap is positive; at the estimate it is not. At 1 the variance vanishes, hence the nudge.
    return float(optimize.brentq(gap, 0.0, min(estimate, 1 - 1e-12)))


def _design_effect(shares: Floats, positive: NDArray[np.bool_], clusters: Sequence[Hashable]) -> float:
    """How much larger the variance is because of the clusters (Obuchowski's over DeLong's, which has none)."""
    places: dict[Hashable, int] = {}
    where = np.array([places.setdefault(one, len(places)) for one in clusters])
    if len(places) == len(where):
        return 1.0
    clustered, plain = _variance(shares, positive, where), _variance(shares, positive, np.arange(len(where)))
    if not clustered or not plain:  # a constant score, one cluster of a class: as if all of a cluster were one
        return float(np.bincount(where).max())
    return max(1.0, clustered / plain)


def _variance(shares: Floats, positive: NDArray[np.bool_], where: NDArray[np.intp]) -> float:
    """Obuchowski's variance of the area; DeLong's where each is a cluster of its own; 0 where it has none."""
    area, sums, total = float(shares[positive].mean()), [], 0.0
    for mine in (positive, ~positive):
        size, held = int(mine.sum()), len(set(where[mine].tolist()))
        if held < 2:
            return 0.0
        # Each class's deviations from the area, added up within a cluster, as a share of the class.
        sums.append(np.bincount(where, np.where(mine, shares - area, 0.0)) / size)
        total += held / (held - 1) * float(sums[-1] @ sums[-1])
    count = len(sums[0])
    return total + 2 * count / (count - 1) * float(sums[0] @ sums[1])
