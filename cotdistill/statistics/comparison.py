"""Comparing a strategy with a baseline: difference, interval, tests, what could have been detected, and a sentence.

The entrance to the statistics: single intervals are in `intervals`, tests on one run's items and corrections for many
tests in `significance`, seeds and items separated in `effect`; all are importable from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import stdtrit

from cotdistill.statistics.effect import Effect, MeanSquares, are_binary, average, difference, mean_squares
from cotdistill.statistics.intervals import Interval, newcombe, paired_bootstrap, wilson
from cotdistill.statistics.significance import McNemar, holm, mcnemar_exact, permutation_test

__all__ = [
    "Comparison",
    "Effect",
    "Interval",
    "McNemar",
    "MeanSquares",
    "adjust",
    "average",
    "compare",
    "difference",
    "holm",
    "mcnemar_exact",
    "mean_squares",
    "minimum_detectable_effect",
    "newcombe",
    "paired_bootstrap",
    "permutation_test",
    "sentence",
    "wilson",
]


def minimum_detectable_effect(
    n: int, discordance: float, power: float = 0.8, alpha: float = 0.05, seeds: int = 1, seed_sd: float = 0.0
) -> float | None:
    """The smallest difference in accuracy a study of `n` paired items would find: to plan one before it runs.

    The d with d = t(1 - alpha/2) sqrt(V(0)) + t(power) sqrt(V(d)), V(d) = (discordance - d²) / n + 2
    seed_sd² / seeds. `discordance`: the share of items on which the two disagree. `seed_sd`: standard
    deviation of one strategy's accuracy between training runs on the same items; t has Satterthwaite's
    degrees of freedom, and is the normal quantile for seed_sd = 0. Several runs are taken to disagree on
    the same items (the worst case). None if not even all disagreements in one direction would be found.
    After a study use `Effect.detectable`.
    Source: Connor (1987), Sample size for testing differences in proportions for the paired-sample design,
    Biometrics 43:207-211; without pairing 2 p (1 - p) / n replaces the first term.

    Raises:
        ValueError: no items, a discordance outside [0, 1], or seed noise with a single seed.
    """
    if n < 1 or seeds < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"needs n, seeds >= 1 and a discordance in 0..1, got {n}, {seeds}, {discordance}")
    if seed_sd > 0 and seeds < 2:
        raise ValueError("seed noise cannot be told from an effect with a single seed")
    seed = 2 * seed_sd**2 / seeds
    null = discordance / n + seed
    df = 2 * (seeds - 1) * (null / seed) ** 2 if seed else math.inf
    critical, margin = float(stdtrit(df, 1 - alpha / 2)), float(stdtrit(df, power))

    def shortfall(d: float) -> float:
        return d - critical * math.sqrt(null) - margin * math.sqrt((discordance - d**2) / n + seed)

    if discordance == 0 or shortfall(discordance) < 0:
        return None
    return float(brentq(shortfall, 0.0, discordance))


@dataclass(frozen=True)
class Comparison:
    """A strategy against a baseline on the same items, over their training runs; shares, not points.

    `p` matches `difference`; `p_holm` is None until `adjust` has seen the family of `family` comparisons.
    `mde`: the difference that would have been found with 80 % power at 5 % (at 5 % / family once adjusted); None where
    not even the greatest possible one would.
    `mcnemar`: one exact test per pair of runs, as they are numbered; empty unless outcomes are 0/1.
    """

    name: str
    baseline: str
    mean: float
    baseline_mean: float
    difference: Interval
    effect: Effect
    p: float
    p_holm: float | None
    family: int
    mde: float | None
    mcnemar: tuple[McNemar, ...]
    n_items: int
    n_seeds: int
    baseline_n_seeds: int

    @property
    def seed_se(self) -> float | None:
        """Standard error from training alone; None where it is unknown."""
        return self.effect.seed_se

    @property
    def item_se(self) -> float:
        """Standard error from the choice of items alone."""
        return self.effect.item_se

    def figures(self) -> dict[str, Any]:
        """Everything but the names, as plain data: the fields of comparisons.jsonl, and of what `compare` prints."""
        return {
            "mean": self.mean,
            "baseline_mean": self.baseline_mean,
            "difference": self.difference.estimate,
            "interval": [self.difference.low, self.difference.high],
            "method": self.difference.method,
            "p": self.p,
            "p_holm": self.p_holm,
            "family": self.family,
            "detectable": self.mde,
            "seed_se": self.seed_se,
            "item_se": self.item_se,
            "items": self.n_items,
            "seeds": [self.n_seeds, self.baseline_n_seeds],
            "mcnemar": [{"only_name": test.only_a, "only_baseline": test.only_b, "p": test.p} for test in self.mcnemar],
            "sentence": sentence(self),
        }


def compare(
    name: str,
    baseline: str,
    a: ArrayLike,
    b: ArrayLike,
    ids: Sequence[str],
    paired_seeds: bool = False,
    clusters: Sequence[str] | None = None,
) -> Comparison:
    """Compare `name`'s outcomes a with `baseline`'s b, [seeds, items] each, columns in the order of `ids`.

    Columns are put in the order of their ids first, so that the result is the same to the last bit whatever
    order the rows came in. `paired_seeds`, `clusters` [items]: see `effect.difference`.

    Raises:
        ValueError: an id occurs twice, or there is not one column for each id on both sides.
    """
    left, right = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    if len(set(ids)) != len(ids):
        raise ValueError(f"{name} against {baseline}: an item id occurs twice")
    if left.shape[1:] != (len(ids),) or right.shape[1:] != (len(ids),):
        raise ValueError(
            f"{name} against {baseline}: {len(ids)} ids for outcomes of shape {left.shape} and {right.shape}"
        )
    order = sorted(range(len(ids)), key=lambda column: ids[column])
    left, right = left[:, order], right[:, order]
    effect = difference(left, right, paired_seeds, clusters and [clusters[column] for column in order])
    return Comparison(
        name=name,
        baseline=baseline,
        mean=float(left.mean()),
        baseline_mean=float(right.mean()),
        difference=effect.interval(),
        effect=effect,
        p=effect.p_value(),
        p_holm=None,
        family=1,
        mde=effect.detectable(),
        mcnemar=_mcnemar_per_seed(left, right) if are_binary(left) and are_binary(right) else (),
        n_items=len(ids),
        n_seeds=len(left),
        baseline_n_seeds=len(right),
    )


def _mcnemar_per_seed(a: ArrayLike, b: ArrayLike) -> tuple[McNemar, ...]:
    return tuple(mcnemar_exact(x, y) for x, y in zip(np.asarray(a), np.asarray(b), strict=False))


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons as one family of m: Holm's p-values, and `mde` at Holm's first step, 5 % / m."""
    family = len(comparisons)
    return [
        replace(comparison, p_holm=p, family=family, mde=comparison.effect.detectable(alpha=0.05 / family))
        for comparison, p in zip(comparisons, holm([c.p for c in comparisons]), strict=True)
    ]


def sentence(comparison: Comparison) -> str:
    """The comparison in plain English and percentage points; caveats included."""
    c, interval = comparison, comparison.difference
    span = f"{interval.level:.0%} interval {signed_points(interval.low)} to {signed_points(interval.high)}"
    p = _p(c.p) if c.p_holm is None or c.family == 1 else f"{_p(c.p_holm)} after Holm over {c.family} comparisons"
    least = "no difference, however large," if c.mde is None else f"a difference of {100 * c.mde:.1f}"
    seen = f"{least} would have been seen (power 80%)"
    side = "above" if interval.estimate > 0 else "below"
    finding = f"{c.name} is {100 * abs(interval.estimate):.1f} points {side} {c.baseline} ({span}; {p})"
    if 0.0 in interval:
        margin = 100 * max(abs(interval.low), abs(interval.high))
        text = f"{c.name} is within ±{margin:.1f} points of {c.baseline} ({span}; {p}); {seen}."
    elif (c.p if c.p_holm is None else c.p_holm) < 1 - interval.level:
        text = f"{finding}."
    else:
        text = f"{finding}: not significant in a family this large; {seen}."
    if not c.effect.seeds_known:
        text += " A single training run: how far another would differ is unknown and not in the interval."
    return text


def signed_points(share: float) -> str:
    """A difference of shares in points, with its sign and one decimal."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def shown_p(p: float) -> str:
    """A p-value for people: three decimals, or `< 0.001`; never a zero."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _p(p: float) -> str:
    return f"p = {shown_p(p)}" if p >= 0.001 else f"p {shown_p(p)}"
