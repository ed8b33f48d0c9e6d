"""Intervals against statsmodels and Newcombe's example; in each a case a naive formula gets wrong."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from cotdistill.statistics.comparison import newcombe, paired_bootstrap, wilson
from tests.statistics.outcomes import discordant, random_outcomes


class TestShares:
    @pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (3, 7), (81, 263), (95_000, 100_000)])
    @pytest.mark.parametrize("level", [0.9, 0.95])
    def test_wilson_is_statsmodels(self, right: int, n: int, level: float) -> None:
        from statsmodels.stats.proportion import proportion_confint

        found = wilson(right, n, level)
        assert (found.low, found.high) == pytest.approx(
            proportion_confint(right, n, 1 - level, method="wilson"), abs=1e-12
        )
        assert found.estimate == right / n

    def test_wilson_has_a_width_at_the_edge_where_the_naive_interval_has_none(self) -> None:
        assert wilson(20, 20).low == pytest.approx(0.8389, abs=1e-4)  # p +- z sqrt(p (1 - p) / n) says 1 to 1

    @pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 2)])
    def test_a_share_of_nothing_is_an_error(self, right: int, n: int) -> None:
        with pytest.raises(ValueError, match="n >= 1"):
            wilson(right, n)

    def test_newcombe_is_the_papers_example(self) -> None:
        found = newcombe(56, 70, 48, 80)  # Newcombe (1998), table II (a), method 10
        assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)

    def test_newcombe_is_statsmodels_and_not_walds(self) -> None:
        from statsmodels.stats.proportion import confint_proportions_2indep

        found = newcombe(9, 10, 3, 10)
        expected = confint_proportions_2indep(9, 10, 3, 10, method="newcomb", compare="diff")
        wald = confint_proportions_2indep(9, 10, 3, 10, method="wald", compare="diff")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
        assert abs(found.low - wald[0]) > 0.05


class TestPairedBootstrap:
    def test_counting_and_drawing_items_give_the_same_interval(self) -> None:
        a, b = random_outcomes(1, 400, 0.7, 1)[0], random_outcomes(1, 400, 0.6, 2)[0]
        counted = paired_bootstrap(a, b, seed=0, resamples=20_000)
        generator = np.random.default_rng(5)
        drawn = (a - b)[generator.integers(400, size=(20_000, 400))].mean(axis=1)
        assert (counted.low, counted.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.003)
        # Real values, all different, take the other path; a shift of 1e-9 makes them so.
        real = paired_bootstrap(a + 1e-9 * np.arange(400), b, seed=0, resamples=20_000)
        assert (real.low, real.high) == pytest.approx((counted.low, counted.high), abs=0.003)

    def test_it_uses_the_pairing_where_independent_shares_would_not(self) -> None:
        a, b = discordant(both=700, only_a=30, only_b=10, neither=260)
        paired, independent = paired_bootstrap(a, b, seed=0), newcombe(730, 1000, 710, 1000)
        assert paired.low > 0 > independent.low
        half = 1.96 * math.sqrt((0.04 - 0.02**2) / 1000)
        assert (paired.high - paired.low) / 2 == pytest.approx(half, rel=0.05)

    def test_a_hundred_thousand_items_stay_small(self) -> None:
        generator = np.random.default_rng(0)
        a, b = generator.standard_normal((2, 100_000))
        tracemalloc.start()
        paired_bootstrap(a, b, seed=0, resamples=60)  # three steps of the chunked path
        paired_bootstrap(a > 0, b > 0, seed=0, resamples=10_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100e6

    def test_same_seed_same_interval(self) -> None:
        a, b = random_outcomes(2, 50, 0.5, 3)
        assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
        real = a + 0.1 * np.arange(50)
        assert paired_bootstrap(real, b, seed=1) == paired_bootstrap(real, b, seed=1)
        assert paired_bootstrap(real, b, seed=1) != paired_bootstrap(real, b, seed=2)

    @pytest.mark.parametrize(("a", "b"), [([1], [1, 0]), ([], []), ([[1, 0]], [[1, 0]])])
    def test_outcomes_that_do_not_pair_are_an_error(self, a: list, b: list) -> None:
        with pytest.raises(ValueError, match="equal non-empty lists"):
            paired_bootstrap(a, b, seed=0)

    def test_nan_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="finite"):
            paired_bootstrap([1, math.nan], [0, 1], seed=0)
