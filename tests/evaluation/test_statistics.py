"""Statistics against statsmodels, scipy and worked examples; in each a case a naive formula gets wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cotdistill.evaluation.effect import Effect
from cotdistill.evaluation.statistics import (
    Comparison,
    adjust,
    average,
    benjamini_hochberg,
    compare,
    difference,
    hierarchical_interval,
    hierarchical_test,
    holm,
    mcnemar_exact,
    mean_squares,
    minimum_detectable_effect,
    newcombe,
    paired_bootstrap,
    permutation_test,
    sentence,
    wilson,
)


def outcomes(seeds: int, items: int, share: float, seed: int) -> np.ndarray:
    """A grid [seeds, items] of 0/1 with seed and item effects."""
    generator = np.random.default_rng(seed)
    chance = share + 0.05 * generator.standard_normal((seeds, 1)) + 0.2 * generator.standard_normal(items)
    return (generator.random((seeds, items)) < chance).astype(int)


def discordant(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of 0/1 outcomes with the given 2 x 2 table."""
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return a, b


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
        a, b = outcomes(1, 400, 0.7, 1)[0], outcomes(1, 400, 0.6, 2)[0]
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
        a, b = outcomes(2, 50, 0.5, 3)
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

    def test_both_are_statsmodels(self) -> None:
        from statsmodels.stats.multitest import multipletests

        assert holm(self.P) == pytest.approx(multipletests(self.P, method="holm")[1])
        assert benjamini_hochberg(self.P) == pytest.approx(multipletests(self.P, method="fdr_bh")[1])

    def test_they_are_neither_raw_nor_bonferroni(self) -> None:
        # The step-down maximum matters: the third smallest is 0.03 * 4 and lifts both 0.04s (0.04 * 3, * 2).
        assert holm(self.P) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.2, 0.12])
        assert [min(1, 6 * p) for p in self.P] == pytest.approx([0.06, 0.24, 0.18, 0.03, 1, 0.24])

    def test_an_empty_family_is_empty(self) -> None:
        assert holm([]) == benjamini_hochberg([]) == []

    @pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
    def test_what_is_no_probability_is_an_error(self, correct) -> None:
        with pytest.raises(ValueError, match="0 to 1"):
            correct([0.5, math.nan])

    @given(st.lists(st.floats(0, 1), max_size=12))
    def test_holm_is_at_least_raw_at_most_bonferroni_and_monotone(self, p: list[float]) -> None:
        adjusted = holm(p)
        assert all(raw <= new <= min(1.0, len(p) * raw) for raw, new in zip(p, adjusted, strict=True))
        in_order = [new for _, new in sorted(zip(p, adjusted, strict=True))]
        assert in_order == sorted(in_order)
        assert all(q <= new + 1e-12 for q, new in zip(benjamini_hochberg(p), adjusted, strict=True))


class TestSeedsAndItems:
    def test_mean_squares_are_the_analysis_of_variance(self) -> None:
        import pandas
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm

        grid = outcomes(4, 12, 0.5, 4)
        rows = [(s, i, grid[s, i]) for s in range(4) for i in range(12)]
        table = anova_lm(
            ols("y ~ C(seed) + C(item)", pandas.DataFrame(rows, columns=["seed", "item", "y"])).fit()
        )
        found = mean_squares(grid)
        assert (found.seed, found.item, found.residual) == pytest.approx(table["mean_sq"].tolist())

    def test_variance_components_are_recovered(self) -> None:
        generator = np.random.default_rng(0)
        seeds, items = 60, 400
        grid = generator.normal(0, 0.3, (seeds, 1)) + generator.normal(0, 0.7, items)
        found = mean_squares(grid + generator.normal(0, 0.5, (seeds, items)))
        assert math.sqrt(found.seed_variance) == pytest.approx(0.3, rel=0.2)
        assert math.sqrt(found.item_variance) == pytest.approx(0.7, rel=0.1)
        assert math.sqrt(found.residual_variance) == pytest.approx(0.5, rel=0.02)

    def test_a_negative_component_is_zero(self) -> None:
        found = mean_squares([[1, 0], [0, 1]])  # seed means and item means agree exactly
        assert (found.seed_variance, found.item_variance, found.residual_variance) == (0.0, 0.0, 1.0)

    def test_without_item_noise_it_is_welchs_test_on_the_runs(self) -> None:
        a, b = np.array([0.70, 0.74, 0.69, 0.75, 0.72]), np.array([0.71, 0.66, 0.68])
        items = np.ones(20)
        found = stats.ttest_ind(a, b, equal_var=False)
        effect = difference(np.outer(a, items), np.outer(b, items))
        assert effect.item_se == pytest.approx(0, abs=1e-9)
        assert effect.p_value() == pytest.approx(found.pvalue)
        limits = found.confidence_interval()
        assert (effect.interval().low, effect.interval().high) == pytest.approx((limits.low, limits.high))

    def test_without_item_noise_paired_runs_are_the_paired_t_test(self) -> None:
        a, b = np.array([0.70, 0.74, 0.69, 0.75, 0.72]), np.array([0.68, 0.73, 0.66, 0.74, 0.71])
        items = np.ones(20)
        found = hierarchical_test(np.outer(a, items), np.outer(b, items), paired_seeds=True)
        assert found == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-6)

    def test_without_seed_noise_it_is_the_paired_t_test_on_the_items(self) -> None:
        a, b = np.random.default_rng(0).standard_normal((2, 30))
        found = hierarchical_test(np.tile(a, (5, 1)), np.tile(b, (5, 1)))
        assert found == pytest.approx(stats.ttest_rel(a, b).pvalue)

    def test_a_worked_example(self) -> None:
        # Run means 2 and 2.5, item means 3, 1, 0.5, 4.5, every residual ±0.25: MS_residual = 0.5 / 3.
        gap = np.array([[3.0, 1.0, 0.0, 4.0], [3.0, 1.0, 1.0, 5.0]])
        effect = difference(gap, np.zeros((2, 4)), paired_seeds=True)
        assert effect.estimate == 2.25
        assert effect.seed_se == pytest.approx(math.sqrt(0.125 / 2))
        assert effect.item_se == pytest.approx(math.sqrt((10.25 / 3 - 1 / 12) / 4))
        assert (effect.seed_df, effect.item_df) == (1, 3)
        assert effect.half_width() == pytest.approx(
            math.hypot(12.7062 * 0.25, 3.1824 * math.sqrt(5 / 6)), rel=1e-4
        )

    def test_answers_taken_as_independent_would_look_far_surer(self) -> None:
        a, b = outcomes(5, 300, 0.7, 5), outcomes(5, 300, 0.65, 6)
        naive = np.std(a - b, ddof=1) / math.sqrt(a.size)
        assert difference(a, b).se > 1.5 * naive

    def test_more_seeds_shrink_one_error_and_more_items_the_other(self) -> None:
        few = difference(outcomes(5, 500, 0.7, 7), outcomes(5, 500, 0.6, 8))
        seeds = difference(outcomes(80, 500, 0.7, 7), outcomes(80, 500, 0.6, 8))
        items = difference(outcomes(5, 8000, 0.7, 7), outcomes(5, 8000, 0.6, 8))
        assert seeds.seed_se < 0.5 * few.seed_se
        assert seeds.item_se == pytest.approx(few.item_se, rel=0.25)
        assert items.item_se < 0.5 * few.item_se
        assert items.seed_se > 0.5 * few.seed_se

    def test_one_run_has_item_error_only_and_says_so(self) -> None:
        a, b = discordant(60, 20, 10, 10)
        effect = difference(a, b)
        assert effect.seed_se is None
        assert not effect.seeds_known
        assert effect.interval().method == "items only, a single run's training noise unknown"
        # Half an item won and half an item lost join the thirty discordant ones.
        gap = a - b
        squares = ((gap - 0.1) ** 2).sum() + 0.5 * (0.9**2 + 1.1**2)
        assert effect.item_se == pytest.approx(math.sqrt(squares / 99 / 100))

    def test_a_single_run_on_one_side_keeps_the_others_seed_error(self) -> None:
        effect = difference(outcomes(5, 100, 0.7, 9), outcomes(1, 100, 0.6, 10))
        assert effect.seed_se is not None
        assert effect.seed_se > 0
        assert not effect.seeds_known
        assert "unknown" in effect.interval().method

    def test_no_disagreement_still_has_a_width(self) -> None:
        same = outcomes(5, 50, 0.6, 11)
        same[:] = same[0]
        found = hierarchical_interval(same, same)
        assert -0.06 < found.low < 0 < found.high < 0.06  # the bare variance is 0
        assert hierarchical_test(same, same) == 1.0

    @pytest.mark.parametrize("paired_seeds", [False, True])
    @pytest.mark.parametrize("alpha", [0.2, 0.05, 0.008, 1e-5])
    def test_p_is_where_the_interval_touches_zero(self, paired_seeds: bool, alpha: float) -> None:
        effect = difference(outcomes(5, 100, 0.7, 12), outcomes(5, 100, 0.5, 13), paired_seeds)
        shifted = dataclasses.replace(effect, estimate=effect.half_width(alpha))
        assert shifted.p_value() == pytest.approx(alpha, rel=1e-6)

    def test_certainty_without_noise(self) -> None:
        assert hierarchical_test(np.full((3, 5), 2.0), np.full((3, 5), 1.5)) <= 1e-15
        assert hierarchical_test(np.full((3, 5), 2.0), np.full((3, 5), 2.0)) == 1.0

    def test_accuracy_of_one_strategy(self) -> None:
        grid = outcomes(5, 200, 0.9, 14)
        found = average(grid).interval()
        assert found.estimate == grid.mean()
        assert found.low > grid.mean() - 0.2
        assert found.high <= 1.0
        assert found.high - found.low > wilson(int(grid.sum()), grid.size).high - found.estimate

    @pytest.mark.parametrize(
        ("a", "b", "paired_seeds", "complaint"),
        [
            ([[1, 0, 1]], [[1, 0]], False, "same items"),
            ([[1, 0]], [[1, 0], [0, 0]], True, "as many"),
            ([[1]], [[0]], False, "two items"),
            ([[1, math.nan]], [[0, 1]], False, "finite"),
        ],
    )
    def test_grids_that_do_not_fit_are_an_error(
        self, a: list, b: list, paired_seeds: bool, complaint: str
    ) -> None:
        with pytest.raises(ValueError, match=complaint):
            difference(a, b, paired_seeds)

    def test_one_run_has_no_mean_squares(self) -> None:
        with pytest.raises(ValueError, match="one run"):
            mean_squares([[1, 0, 1]])


class TestDetectable:
    def test_planned_effect_has_its_power_in_mcnemars_test(self) -> None:
        n, discordance = 500, 0.2
        effect = minimum_detectable_effect(n, discordance)
        assert effect is not None
        # Exact power of the asymptotic test: discordant items ~ Bin(n, 0.2), won ones ~ Bin(k, share).
        share = (1 + effect / discordance) / 2
        power = 0.0
        for k in range(60, 141):
            won = np.arange(k + 1)
            rejects = (2 * won - k) ** 2 > stats.chi2.ppf(0.95, 1) * k
            power += stats.binom.pmf(k, n, discordance) * stats.binom.pmf(won, k, share)[rejects].sum()
        assert power == pytest.approx(0.8, abs=0.02)

    @pytest.mark.parametrize(("n", "discordance"), [(500, 0.2), (60, 0.2), (150, 0.08)])
    def test_connors_sample_size_leads_back(self, n: int, discordance: float) -> None:
        effect = minimum_detectable_effect(n, discordance)
        assert effect is not None
        root = 1.959964 * math.sqrt(discordance) + 0.841621 * math.sqrt(discordance - effect**2)
        assert (root / effect) ** 2 == pytest.approx(n, rel=1e-5)

    def test_two_independent_samples_would_ask_for_more(self) -> None:
        paired = minimum_detectable_effect(500, 0.2)
        independent = (1.96 + 0.8416) * math.sqrt(2 * 0.7 * 0.3 / 500)
        assert paired == pytest.approx(0.0557, abs=5e-4)
        assert independent > 1.4 * paired

    def test_seed_noise_and_few_seeds_raise_it(self) -> None:
        alone = minimum_detectable_effect(1000, 0.2)
        few = minimum_detectable_effect(1000, 0.2, seeds=3, seed_sd=0.02)
        many = minimum_detectable_effect(1000, 0.2, seeds=30, seed_sd=0.02)
        assert alone < many < few
        # Seeds alone: a two-sample t-test with 2 x 5 runs, statsmodels' power within the approximation.
        from statsmodels.stats.power import TTestIndPower

        found = minimum_detectable_effect(10**9, 0.5, seeds=5, seed_sd=0.02)
        exact = 0.02 * TTestIndPower().solve_power(nobs1=5, alpha=0.05, power=0.8)
        assert found == pytest.approx(exact, rel=0.03)

    def test_a_difference_no_study_of_this_size_could_show_is_none(self) -> None:
        assert minimum_detectable_effect(20, 0.1) is None
        assert minimum_detectable_effect(1000, 0.0) is None

    @pytest.mark.parametrize("wrong", [{"n": 0}, {"discordance": 1.2}, {"seed_sd": 0.1}])
    def test_impossible_plans_are_an_error(self, wrong: dict) -> None:
        with pytest.raises(ValueError):
            minimum_detectable_effect(**{"n": 100, "discordance": 0.2, **wrong})

    def test_observed_noise_gives_the_noncentral_ts_effect(self) -> None:
        effect = difference(outcomes(5, 200, 0.7, 15), outcomes(5, 200, 0.6, 16))
        centre = effect.detectable() / effect.se
        power = stats.nct.sf(stats.t.ppf(0.975, effect.df), effect.df, centre)
        assert power == pytest.approx(0.8, abs=0.02)


def comparison(a: np.ndarray, b: np.ndarray, **options: bool) -> Comparison:
    return compare("post-cot", "cot", a, b, [f"q{i:03d}" for i in range(a.shape[-1])], **options)


def stated(estimate: float, se: float, p_holm: float | None = None, seeds_known: bool = True) -> str:
    """The sentence for an effect with 1,000 degrees of freedom."""
    effect = Effect(estimate, se, 0.0, 1000.0, 1000.0, seeds_known, False, (-1.0, 1.0))
    base = comparison(outcomes(5, 20, 0.5, 0), outcomes(5, 20, 0.5, 1))
    return sentence(
        dataclasses.replace(
            base,
            effect=effect,
            difference=effect.interval(),
            p=effect.p_value(),
            p_holm=p_holm,
            family=6,
            mde=effect.detectable(),
        )
    )


class TestComparison:
    def test_it_holds_what_a_table_needs(self) -> None:
        a, b = outcomes(5, 120, 0.8, 17), outcomes(3, 120, 0.5, 18)
        found = comparison(a, b)
        assert (found.mean, found.baseline_mean) == (a.mean(), b.mean())
        assert found.difference.estimate == pytest.approx(a.mean() - b.mean())
        assert (found.n_items, found.n_seeds, found.baseline_n_seeds) == (120, 5, 3)
        assert found.mcnemar == tuple(mcnemar_exact(x, y) for x, y in zip(a, b, strict=False))
        assert found.difference == hierarchical_interval(a, b)
        assert found.p == hierarchical_test(a, b)
        assert found.seed_se is not None
        assert math.hypot(found.seed_se, found.item_se) == pytest.approx(found.effect.se)
        assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["name"] == "post-cot"

    def test_the_order_of_the_rows_does_not_change_a_bit(self) -> None:
        a, b, ids = outcomes(5, 90, 0.7, 19), outcomes(5, 90, 0.6, 20), [f"q{i}" for i in range(90)]
        order = np.random.default_rng(0).permutation(90)
        shuffled = compare("x", "y", a[:, order], b[:, order], [ids[i] for i in order])
        assert shuffled == compare("x", "y", a, b, ids)

    def test_real_outcomes_have_no_mcnemar(self) -> None:
        assert comparison(outcomes(3, 10, 0.5, 0) * 0.5, outcomes(3, 10, 0.5, 1)).mcnemar == ()

    def test_ids_must_name_the_columns_once(self) -> None:
        grid = outcomes(2, 3, 0.5, 0)
        with pytest.raises(ValueError, match="twice"):
            compare("x", "y", grid, grid, ["a", "b", "a"])
        with pytest.raises(ValueError, match="2 ids"):
            compare("x", "y", grid, grid, ["a", "b"])

    def test_a_family_is_adjusted_together(self) -> None:
        baseline = outcomes(5, 200, 0.5, 21)
        alone = [
            comparison(outcomes(5, 200, share, int(100 * share)), baseline) for share in (0.5, 0.55, 0.8)
        ]
        family = adjust(alone)
        assert [c.p_holm for c in family] == holm([c.p for c in alone])
        assert [c.p for c in family] == [c.p for c in alone]
        assert all(new.mde > old.mde and new.family == 3 for new, old in zip(family, alone, strict=True))
        assert adjust([]) == []

    def test_one_comparison_is_its_own_family(self) -> None:
        alone = comparison(outcomes(5, 50, 0.5, 1), outcomes(5, 50, 0.5, 2))
        assert adjust([alone]) == [dataclasses.replace(alone, p_holm=alone.p)]


class TestSentence:
    def test_no_difference_says_how_small_it_must_be_and_what_would_have_been_seen(self) -> None:
        assert stated(0.0, 0.0091742) == (
            "post-cot is within ±1.8 points of cot (95% interval -1.8 to +1.8; p = 1.000);"
            " a difference of 2.6 would have been seen (power 80%)."
        )

    def test_a_difference_says_its_size_and_direction(self) -> None:
        assert stated(0.05, 0.01, p_holm=0.0004) == (
            "post-cot is 5.0 points above cot (95% interval +3.0 to +7.0;"
            " p < 0.001 after Holm over 6 comparisons)."
        )
        assert stated(-0.05, 0.01).startswith("post-cot is 5.0 points below cot (95% interval -7.0 to -3.0;")

    def test_a_difference_lost_to_its_family_says_so(self) -> None:
        assert stated(0.025, 0.01, p_holm=0.075) == (
            "post-cot is 2.5 points above cot (95% interval +0.5 to +4.5; p = 0.075 after Holm over 6"
            " comparisons): not significant in a family this large;"
            " a difference of 2.8 would have been seen (power 80%)."
        )

    def test_a_single_run_is_said(self) -> None:
        assert "single training run" in stated(0.0, 0.01, seeds_known=False)
        assert "single training run" not in stated(0.0, 0.01)


grids = st.integers(0, 2**31).flatmap(
    lambda seed: st.tuples(st.integers(1, 6), st.integers(2, 40), st.floats(0, 1), st.booleans()).map(
        lambda shape: (
            outcomes(shape[0], shape[1], shape[2], seed) * (1.0 if shape[3] else 0.3),
            outcomes(shape[0], shape[1], 0.5, seed + 1) * (1.0 if shape[3] else 0.3),
        )
    )
)


class TestProperties:
    @given(st.integers(0, 500), st.integers(1, 500))
    def test_wilson_contains_its_estimate_and_stays_a_share(self, right: int, n: int) -> None:
        found = wilson(min(right, n), n)
        assert 0 <= found.low <= found.estimate <= found.high <= 1

    @settings(deadline=None)
    @given(grids, st.booleans())
    def test_intervals_contain_the_estimate(
        self, pair: tuple[np.ndarray, np.ndarray], paired_seeds: bool
    ) -> None:
        a, b = pair
        assert (interval := hierarchical_interval(a, b, paired_seeds)).estimate in interval
        assert (interval := paired_bootstrap(a[0], b[0], seed=0, resamples=200)).estimate in interval
        assert (interval := average(a).interval()).estimate in interval

    @settings(deadline=None)
    @given(grids, st.booleans())
    def test_swapping_the_sides_flips_the_sign(
        self, pair: tuple[np.ndarray, np.ndarray], paired_seeds: bool
    ) -> None:
        a, b = pair
        there, back = hierarchical_interval(a, b, paired_seeds), hierarchical_interval(b, a, paired_seeds)
        assert (there.estimate, there.low, there.high) == (-back.estimate, -back.high, -back.low)
        assert hierarchical_test(a, b, paired_seeds) == hierarchical_test(b, a, paired_seeds)
        assert permutation_test(a[0], b[0], seed=0) == permutation_test(b[0], a[0], seed=0)
        one, other = mcnemar_exact(a[0] > 0, b[0] > 0), mcnemar_exact(b[0] > 0, a[0] > 0)
        assert (one.only_a, one.only_b, one.p) == (other.only_b, other.only_a, other.p)
        there, back = paired_bootstrap(a[0], b[0], 0, 2000), paired_bootstrap(b[0], a[0], 0, 2000)
        assert there.estimate == -back.estimate
        assert there.low == pytest.approx(-back.high, abs=0.25 * (there.high - there.low) + 1e-12)

    @settings(deadline=None)
    @given(grids, st.randoms(use_true_random=False))
    def test_the_order_of_items_and_of_runs_does_not_matter(
        self, pair: tuple[np.ndarray, np.ndarray], random
    ) -> None:
        a, b = pair
        items, runs = list(range(a.shape[1])), list(range(len(a)))
        random.shuffle(items)
        random.shuffle(runs)
        c, d = a[:, items], b[:, items]
        assert hierarchical_test(c[runs], d) == pytest.approx(hierarchical_test(a, b), rel=1e-6, abs=1e-12)
        assert permutation_test(c[0], d[0], seed=0) == permutation_test(a[0], b[0], seed=0)
        one, other = paired_bootstrap(c[0], d[0], 0, 200), paired_bootstrap(a[0], b[0], 0, 200)
        assert (one.low, one.high) == (other.low, other.high)
