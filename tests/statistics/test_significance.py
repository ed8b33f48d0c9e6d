"""Tests and corrections against statsmodels and scipy; in each a case a naive formula gets wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cotdistill.statistics.comparison import holm, mcnemar_exact, permutation_test
from tests.statistics.outcomes import discordant


class TestMcNemar:
    @pytest.mark.parametrize("table", [(40, 9, 2, 10), (0, 0, 7, 3), (5, 6, 6, 5), (900, 31, 12, 57)])
    def test_it_is_statsmodels(self, table: tuple[int, int, int, int]) -> None:
        from statsmodels.stats.contingency_tables import mcnemar

        both, only_a, only_b, neither = table
        found = mcnemar_exact(*discordant(*table))
        assert (found.only_a, found.only_b) == (only_a, only_b)
        expected = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
        assert found.p == pytest.approx(expected, abs=1e-12)

    def test_the_chi_square_formula_would_reject_where_the_exact_test_does_not(self) -> None:
        a, b = discordant(both=10, only_a=5, only_b=0, neither=10)
        assert mcnemar_exact(a, b).p == pytest.approx(2 / 2**5)
        assert stats.chi2.sf((5 - 0) ** 2 / 5, 1) < 0.05

    def test_nothing_discordant_is_p_one(self) -> None:
        assert mcnemar_exact([1, 0, 1], [1, 0, 1]).p == 1.0

    def test_outcomes_other_than_right_and_wrong_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="0 and 1"):
            mcnemar_exact([1, 0.5], [0, 1])


class TestPermutation:
    def test_right_and_wrong_is_mcnemar(self) -> None:
        a, b = discordant(40, 9, 2, 10)
        assert permutation_test(a, b, seed=0) == pytest.approx(mcnemar_exact(a, b).p, abs=1e-12)

    @pytest.mark.parametrize(
        "gap",
        [
            [0.3, 1.1, -0.2, 2.0, 0.7, 1.3, -0.4, 0.9, 1.7, 0.1],  # all sizes different
            [1, 1, 2, 2, 2, -1, 1, -2, 2, 1, 1, 2],  # two sizes, many ties in the sums
        ],
    )
    def test_it_is_scipys_exhaustive_test(self, gap: list[float]) -> None:
        exact = stats.permutation_test(
            (gap, np.zeros(len(gap))), lambda x, y: np.mean(x - y), permutation_type="samples"
        ).pvalue
        found = permutation_test(gap, np.zeros(len(gap)), seed=0, resamples=200_000)
        assert found == pytest.approx(exact, abs=4 * math.sqrt(exact / 200_000))

    def test_it_is_never_zero_where_the_bare_share_of_extremes_is(self) -> None:
        assert permutation_test(np.arange(1.0, 101.0), np.zeros(100), seed=0, resamples=999) == 1 / 1000

    def test_no_difference_is_p_one(self) -> None:
        assert permutation_test([0.5, 0.25], [0.5, 0.25], seed=0) == 1.0


class TestFamilies:
    P = (0.01, 0.04, 0.03, 0.005, 0.2, 0.04)

    def test_holm_is_statsmodels(self) -> None:
        from statsmodels.stats.multitest import multipletests

        assert holm(self.P) == pytest.approx(multipletests(self.P, method="holm")[1])

    def test_holm_is_neither_raw_nor_bonferroni(self) -> None:
        # The step-down maximum matters: the third smallest is 0.03 * 4 and lifts both 0.04s (0.04 * 3, * 2).
        assert holm(self.P) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.2, 0.12])
        assert [min(1, 6 * p) for p in self.P] == pytest.approx([0.06, 0.24, 0.18, 0.03, 1, 0.24])

    def test_an_empty_family_is_empty(self) -> None:
        assert holm([]) == []

    def test_what_is_no_probability_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="0 to 1"):
            holm([0.5, math.nan])

    @given(st.lists(st.floats(0, 1), max_size=12))
    def test_holm_is_at_least_raw_at_most_bonferroni_and_monotone(self, p: list[float]) -> None:
        adjusted = holm(p)
        assert all(raw <= new <= min(1.0, len(p) * raw) for raw, new in zip(p, adjusted, strict=True))
        in_order = [new for _, new in sorted(zip(p, adjusted, strict=True))]
        assert in_order == sorted(in_order)
