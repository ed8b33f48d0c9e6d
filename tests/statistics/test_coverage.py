"""Do the intervals over seeds and items cover the truth, and do the tests keep their level?

Grids are drawn from a latent model whose expected accuracies are known exactly: an answer is right where
level + seed + difficulty + (strategy x item) + noise > 0, all of them normal, so that a strategy's accuracy
over seeds and items is Phi(level / sd of the sum). Each scenario draws 2,000 grids of 5 seeds; the
generator's own seed is fixed, so a figure at the edge of a limit does not come and go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri, stdtrit

from cotdistill.statistics.comparison import holm
from cotdistill.statistics.effect import Effect, average, difference

pytestmark = pytest.mark.slow

GRIDS = 2_000
SEEDS = 5
FAMILY = 6


@dataclass(frozen=True)
class Scenario:
    """Expected accuracies of the two sides and standard deviations on the latent scale (difficulty: 1)."""

    a: float
    b: float
    items: int
    seed: float  # between training runs
    own: float  # strategy x item: items that suit one strategy
    noise: float = 0.5  # seed x item
    shared: float = 0.0  # correlation of the two sides' seeds

    def grids(
        self, generator: np.random.Generator, accuracies: tuple[float, ...] | None = None
    ) -> list[NDArray[np.float64]]:
        """One grid [SEEDS, items] of 0/1 for each accuracy, on the same items."""
        spread = math.sqrt(self.seed**2 + 1 + self.own**2 + self.noise**2)
        difficulty = generator.standard_normal(self.items)
        common = generator.standard_normal(SEEDS)
        grids = []
        for accuracy in accuracies or (self.a, self.b):
            private = generator.standard_normal(SEEDS)
            seed = self.seed * (math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * private)
            item = difficulty + self.own * generator.standard_normal(self.items)
            noise = self.noise * generator.standard_normal((SEEDS, self.items), dtype=np.float32)
            grids.append((ndtri(accuracy) * spread + seed[:, None] + item + noise > 0).astype(float))
        return grids

    @property
    def truth(self) -> float:
        return self.a - self.b


SCENARIOS = {
    "seed noise dominates, 200 items": Scenario(0.75, 0.70, 200, seed=0.5, own=0.1),
    "seed noise dominates, 1000 items": Scenario(0.75, 0.70, 1000, seed=0.3, own=0.1),
    "item noise dominates, 200 items": Scenario(0.75, 0.70, 200, seed=0.02, own=1.0),
    "item noise dominates, 1000 items": Scenario(0.75, 0.70, 1000, seed=0.02, own=1.0),
    "both, 200 items": Scenario(0.75, 0.70, 200, seed=0.15, own=0.7),
    "both, 1000 items": Scenario(0.75, 0.70, 1000, seed=0.08, own=0.7),
    "no difference, 200 items": Scenario(0.70, 0.70, 200, seed=0.15, own=0.7),
    "no difference, 1000 items": Scenario(0.70, 0.70, 1000, seed=0.1, own=0.7),
    "0.95 against 0.90, 200 items": Scenario(0.95, 0.90, 200, seed=0.15, own=0.7),
    "0.95 against 0.90, 1000 items": Scenario(0.95, 0.90, 1000, seed=0.15, own=0.7),
    "neither seed nor item effects of the strategy": Scenario(0.75, 0.70, 200, seed=0.0, own=0.0, noise=1.0),
}
PAIRED = {
    "one run decoded in two ways": Scenario(0.75, 0.70, 200, seed=0.5, own=0.5, shared=0.9),
    "one run, 1000 items": Scenario(0.90, 0.88, 1000, seed=0.3, own=0.5, shared=0.8),
    "independent runs taken as pairs": Scenario(0.70, 0.70, 1000, seed=0.1, own=0.7),
}


def effects(scenario: Scenario, seed: int, paired_seeds: bool = False) -> list[Effect]:
    generator = np.random.default_rng(seed)
    return [difference(*scenario.grids(generator), paired_seeds) for _ in range(GRIDS)]


def coverage(found: list[Effect], truth: float) -> float:
    return float(np.mean([truth in effect.interval() for effect in found]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_interval_covers_the_truth(name: str) -> None:
    scenario = SCENARIOS[name]
    found = effects(scenario, seed=1)
    assert 0.93 <= coverage(found, scenario.truth) <= 0.97
    # The standard error is the estimates' real spread, on average and not just wide enough.
    spread = np.std([effect.estimate for effect in found])
    assert math.sqrt(np.mean([effect.se**2 for effect in found])) == pytest.approx(spread, rel=0.08)


@pytest.mark.parametrize("name", PAIRED)
def test_interval_of_paired_runs_covers_the_truth(name: str) -> None:
    scenario = PAIRED[name]  # a bound, not an approximation: above 95 % and at most about 97 %
    assert 0.945 <= coverage(effects(scenario, seed=2, paired_seeds=True), scenario.truth) <= 0.975


def test_taking_correlated_runs_as_independent_is_only_too_wide() -> None:
    scenario = PAIRED["one run decoded in two ways"]
    assert coverage(effects(scenario, seed=2), scenario.truth) > 0.98


def test_one_strategys_accuracy_is_covered() -> None:
    scenario = Scenario(0.80, 0.80, 500, seed=0.15, own=0.5)
    generator = np.random.default_rng(3)
    found = [average(scenario.grids(generator)[0]) for _ in range(GRIDS)]
    assert 0.93 <= coverage(found, 0.80) <= 0.975


def test_few_discordant_items_are_covered_where_the_bare_variance_is_not() -> None:
    scenario = Scenario(0.985, 0.98, 200, seed=0.05, own=0.1, noise=0.1)
    generator = np.random.default_rng(4)
    covered = bare = 0
    for _ in range(GRIDS):
        a, b = scenario.grids(generator)
        covered += scenario.truth in difference(a, b).interval()
        bare += 2 * scenario.truth in difference(2 * a, 2 * b).interval()  # not 0/1: no half items
    assert bare / GRIDS < 0.90 <= 0.95 <= covered / GRIDS


def test_percentile_bootstrap_over_seeds_and_items_covers_too_little() -> None:
    scenario = SCENARIOS["seed noise dominates, 1000 items"]
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(GRIDS):
        gap = np.subtract(*scenario.grids(generator))
        seeds = generator.multinomial(SEEDS, [1 / SEEDS] * SEEDS, size=500) / SEEDS  # [resamples, seeds]
        means = seeds @ gap.mean(axis=1)  # resampling items as well adds next to nothing in this scenario
        low, high = np.quantile(means, [0.025, 0.975])
        covered += low <= scenario.truth <= high
    assert covered / GRIDS < 0.88


def rejections(scenario: Scenario, paired_seeds: bool, plain_t: bool = False) -> int:
    """Grids in which Holm rejects at least one of FAMILY true null hypotheses against one baseline."""
    generator = np.random.default_rng(6)
    rejected = 0
    for _ in range(GRIDS):
        baseline, *others = scenario.grids(generator, accuracies=(scenario.b,) * (FAMILY + 1))
        if plain_t:
            found = [difference(other, baseline, paired_seeds) for other in others]
            # Holm rejects something exactly if the smallest p passes the first step.
            rejected += any(abs(e.estimate) > stdtrit(e.df, 1 - 0.025 / FAMILY) * e.se for e in found)
        else:
            p = [difference(other, baseline, paired_seeds).p_value() for other in others]
            rejected += min(holm(p)) < 0.05
    return rejected


NULLS = {
    "seed noise": Scenario(0.70, 0.70, 200, seed=0.5, own=0.1),
    "item noise": Scenario(0.70, 0.70, 200, seed=0.02, own=1.0),
    "both": SCENARIOS["no difference, 200 items"],
    "both, 1000 items": SCENARIOS["no difference, 1000 items"],
    "accuracy 0.9": Scenario(0.90, 0.90, 200, seed=0.15, own=0.7),
}


@pytest.mark.parametrize("paired_seeds", [False, True], ids=["independent", "paired"])
@pytest.mark.parametrize("name", NULLS)
def test_family_wise_error_is_not_above_five_percent(name: str, paired_seeds: bool) -> None:
    rejected = rejections(NULLS[name], paired_seeds)
    assert stats.binomtest(rejected, GRIDS, 0.05, alternative="greater").pvalue > 0.01


def test_satterthwaites_t_for_paired_runs_would_break_the_family_wise_error() -> None:
    rejected = rejections(NULLS["both, 1000 items"], paired_seeds=True, plain_t=True)
    assert stats.binomtest(rejected, GRIDS, 0.05, alternative="greater").pvalue < 0.001


def test_planted_effect_is_found_and_nulls_beside_it_are_not() -> None:
    scenario = Scenario(0.70, 0.70, 1000, seed=0.08, own=0.5)
    generator = np.random.default_rng(7)
    found = false = 0
    for _ in range(GRIDS):
        baseline, planted, *nulls = scenario.grids(generator, accuracies=(0.70, 0.77, *(0.70,) * (FAMILY - 1)))
        first, *rest = holm([difference(other, baseline).p_value() for other in (planted, *nulls)])
        found += first < 0.05
        false += min(rest) < 0.05
    assert found / GRIDS > 0.80
    assert stats.binomtest(false, GRIDS, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("name", ["item noise", "both, 1000 items"])
def test_detectable_effect_is_found_with_its_power(name: str) -> None:
    null = NULLS[name]
    seen = float(np.mean([effect.detectable() for effect in effects(null, seed=8)]))
    planted = Scenario(null.b + seen, null.b, null.items, null.seed, null.own)
    power = np.mean([effect.p_value() < 0.05 for effect in effects(planted, seed=9)])
    assert 0.75 <= power <= 0.87
