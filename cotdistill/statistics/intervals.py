"""Intervals around a share, a difference of shares and a mean paired difference, for one run's items.

These look at items only; `effect` adds the noise between training runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cotdistill.seeds import derive

Floats = NDArray[np.float64]

CELLS = 2_000_000  # numbers drawn at once: 16 MB of indices and another 16 MB of gathered values


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval [low, high]: shares and differences of shares, not percentage points."""

    estimate: float
    low: float
    high: float
    level: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(right: int, n: int, level: float = 0.95) -> Interval:
    """Interval of a share of `right` out of `n` by inverting the score test.

    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n): it stays inside [0, 1] and keeps a width at 0 of n
    and n of n, where p ± z sqrt(p(1-p)/n) has none.
    Source: Wilson (1927), Probable inference, JASA 22:209-212.

    Raises:
        ValueError: `n` is 0, or `right` is not in 0..n.
    """
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"a share needs 0 <= right <= n and n >= 1, got {right} of {n}")
    low, high = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    share = right / n
    return Interval(share, min(float(low), share), max(float(high), share), level, "Wilson")


def newcombe(right_a: int, n_a: int, right_b: int, n_b: int, level: float = 0.95) -> Interval:
    """Interval of p_a - p_b for shares of two *different* sets of items, e.g. in- against out-of-domain.

    d - sqrt((p_a - l_a)² + (u_b - p_b)²) to d + sqrt((u_a - p_a)² + (p_b - l_b)²) with each share's Wilson
    limits l and u. On the same items use `paired_bootstrap`, which is narrower.
    Source: Newcombe (1998), Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17:873-890, method 10.
    """
    a, b = wilson(right_a, n_a, level), wilson(right_b, n_b, level)
    difference = a.estimate - b.estimate
    below = math.hypot(a.estimate - a.low, b.high - b.estimate)
    above = math.hypot(a.high - a.estimate, b.estimate - b.low)
    return Interval(difference, difference - below, difference + above, level, "Newcombe")


def paired_bootstrap(a: ArrayLike, b: ArrayLike, seed: int, resamples: int = 10_000, level: float = 0.95) -> Interval:
    """Percentile interval of mean(a - b), items resampled with replacement; `a`, `b` are [items] of one run.

    Cost: 0/1 outcomes have three differences, so a resample is one multinomial draw of their counts: the same
    distribution as drawing items, at a cost that does not depend on their number. Many different real values
    are drawn item by item, `CELLS` at a time.
    Trap: with few discordant items the interval is too short (none at all: no width); `effect.hierarchical`
    takes one run as well and has a floor.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Raises:
        ValueError: the two do not have one outcome for each of the same items.
    """
    difference = paired_differences(a, b)
    generator = np.random.default_rng(derive(seed, "paired-bootstrap"))
    values, counts = np.unique(difference, return_counts=True)
    if 4 * len(values) <= len(difference):  # a category costs about twice as much as an item
        means = _counted_means(values, counts, generator, resamples)
    else:
        means = _drawn_means(np.sort(difference), generator, resamples)
    estimate = float(difference.mean())
    low, high = (float(limit) for limit in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
    # The clamp only undoes rounding, where every resample has the same mean.
    return Interval(estimate, min(low, estimate), max(high, estimate), level, "paired bootstrap")


def paired_differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """a - b per item, [items] of finite numbers, both on the same items."""
    left, right = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if left.ndim != 1 or left.shape != right.shape or not len(left):
        raise ValueError(f"paired outcomes need equal non-empty lists, got {left.shape}, {right.shape}")
    difference: Floats = left - right
    if not np.isfinite(difference).all():
        raise ValueError("paired outcomes must be finite numbers")
    return difference


def _counted_means(values: Floats, counts: NDArray[np.int64], generator: np.random.Generator, resamples: int) -> Floats:
    """Bootstrap means from multinomial counts of each distinct value."""
    n = int(counts.sum())
    step = max(1, CELLS // len(values))
    means = np.empty(resamples)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means[start : start + rows] = generator.multinomial(n, counts / n, size=rows) @ values / n
    return means


def _drawn_means(values: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    """Bootstrap means from drawn items, sorted `values` so that the order of the rows does not matter."""
    step = max(1, CELLS // len(values))
    means = np.empty(resamples)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(len(values), size=(rows, len(values)))
        means[start : start + rows] = values[drawn].mean(axis=1)
    return means
