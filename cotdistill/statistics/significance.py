"""Paired tests on one run's items, and corrections for having made many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cotdistill.seeds import derive
from cotdistill.statistics.clusters import group_sums, groups_of
from cotdistill.statistics.intervals import CELLS, Floats, paired_differences


@dataclass(frozen=True)
class McNemar:
    """Discordant items: `only_a` right for a alone, `only_b` for b alone; `p` is two-sided."""

    only_a: int
    only_b: int
    p: float


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Are a and b right equally often on the same items? `a`, `b` are [items] of 0/1.

    Items on which they agree carry no information; of the k others each is a fair coin under the null hypothesis, so
    p is the two-sided binomial tail min(1, 2 P(Bin(k, 1/2) <= min(only_a, only_b))), and 1 for k = 0. The
    textbook (|b - c| - 1)²/(b + c) against chi-square is an approximation that fails for small k.
    Source: McNemar (1947), Psychometrika 12:153-157; the exact form is the sign test.

    Raises:
        ValueError: outcomes other than 0 and 1, or not on the same items.
    """
    difference = paired_differences(a, b)
    if not (np.isin(np.asarray(a), (0, 1)).all() and np.isin(np.asarray(b), (0, 1)).all()):
        raise ValueError("McNemar's test needs outcomes of 0 and 1")
    only_a, only_b = int((difference > 0).sum()), int((difference < 0).sum())
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(only_a, only_b, float(p))


def permutation_test(
    a: ArrayLike, b: ArrayLike, seed: int, resamples: int = 10_000, clusters: Sequence[str] | None = None
) -> float:
    """Two-sided p of mean(a - b) = 0 when each item's two outcomes could as well be swapped.

    p = (1 + #{|T*| >= |T|}) / (1 + resamples) with T the sum of the differences under random signs: never
    0. One distinct size of difference (0/1 outcomes) is a binomial and solved exactly; a few sizes are one
    binomial draw each; many are drawn sign by sign, `CELLS` at a time.
    Source: Fisher (1935), The Design of Experiments, section 21; the + 1: Phipson & Smyth (2010),
    Permutation p-values should never be zero, SAGMB 9(1):39.
    """
    difference = paired_differences(a, b)
    if clusters is not None:
        difference = group_sums(difference, groups_of(clusters, len(difference)))
    difference = difference[difference != 0]
    sizes, counts = np.unique(np.abs(difference), return_counts=True)
    if len(sizes) == 0:
        return 1.0
    if len(sizes) == 1:
        return float(stats.binomtest(int((difference > 0).sum()), len(difference)).pvalue)
    generator = np.random.default_rng(derive(seed, "permutation-test"))
    if 4 * len(sizes) > len(difference):
        sizes, counts = np.sort(np.abs(difference)), np.ones(len(difference), dtype=np.int64)
    observed = abs(float(difference.sum()))
    ties = 1e-9 * float(np.abs(difference).sum())  # equal sums, added in another order, must count as equal
    step = max(1, CELLS // len(sizes))
    extreme = 0
    for start in range(0, resamples, step):
        totals = _signed_sums(sizes, counts, generator, min(step, resamples - start))
        extreme += int((np.abs(totals) >= observed - ties).sum())
    return (1 + extreme) / (1 + resamples)


def _signed_sums(sizes: Floats, counts: NDArray[np.int64], generator: np.random.Generator, rows: int) -> Floats:
    """[rows] sums of the differences, each with a random sign; a size that occurs k times is Bin(k, 1/2)."""
    if (counts == 1).all():  # single bits are about thirty times cheaper than binomials
        octets = generator.integers(256, size=(rows, -(-len(sizes) // 8)), dtype=np.uint8)
        positive = np.unpackbits(octets, axis=1, count=len(sizes)).astype(float)
    else:
        positive = generator.binomial(counts, 0.5, size=(rows, len(sizes))).astype(float)
    sums: Floats = 2.0 * (positive @ sizes) - float(counts @ sizes)
    return sums


def holm(p: ArrayLike) -> list[float]:
    """Holm's adjusted p-values in the order given: below alpha with family-wise error at most alpha.

    Sorted upwards, p~(i) = max over j <= i of min(1, (m - j + 1) p(j)). Valid under any dependence, and
    never larger than Bonferroni's m p.
    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6:65-70.
    """
    raw = _probabilities(p)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def _probabilities(p: ArrayLike) -> Floats:
    raw = np.asarray(p, dtype=float)
    if raw.ndim != 1 or not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError("p-values are a flat list of numbers from 0 to 1")
    return raw
