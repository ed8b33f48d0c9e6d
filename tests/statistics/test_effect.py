"""Seeds and items told apart, against the analysis of variance and t-tests in the limits."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from cotdistill.statistics.comparison import average, difference, mean_squares, wilson
from tests.statistics.outcomes import discordant, random_outcomes


class TestSeedsAndItems:
    def test_mean_squares_are_the_analysis_of_variance(self) -> None:
        import pandas
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm

        grid = random_outcomes(4, 12, 0.5, 4)
        rows = [(s, i, grid[s, i]) for s in range(4) for i in range(12)]
        table = anova_lm(ols("y ~ C(seed) + C(item)", pandas.DataFrame(rows, columns=["seed", "item", "y"])).fit())
        found = mean_squares(grid)
        assert (found.seed, found.item, found.residual) == pytest.approx(table["mean_sq"].tolist())

    def test_variance_components_are_recovered(self) -> None:
        generator = np.random.default_rng(0)
        seeds, items = 60, 400
        grid = generator.normal(0, 0.3, (seeds, 1)) + generator.normal(0, 0.7, items)
        found = mean_squares(grid + generator.normal(0, 0.5, (seeds, items)))
        assert math.sqrt((found.seed - found.residual) / items) == pytest.approx(0.3, rel=0.2)
        assert math.sqrt((found.item - found.residual) / seeds) == pytest.approx(0.7, rel=0.1)
        assert math.sqrt(found.residual) == pytest.approx(0.5, rel=0.02)

    def test_means_that_agree_leave_the_residual_alone(self) -> None:
        found = mean_squares([[1, 0], [0, 1]])
        assert (found.seed, found.item, found.residual) == (0.0, 0.0, 1.0)

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
        found = difference(np.outer(a, items), np.outer(b, items), paired_seeds=True).p_value()
        assert found == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-6)

    def test_without_seed_noise_it_is_the_paired_t_test_on_the_items(self) -> None:
        a, b = np.random.default_rng(0).standard_normal((2, 30))
        found = difference(np.tile(a, (5, 1)), np.tile(b, (5, 1))).p_value()
        assert found == pytest.approx(stats.ttest_rel(a, b).pvalue)

    def test_without_item_effects_the_items_share_may_be_nothing_and_the_interval_is_the_runs(self) -> None:
        # Every outcome is a toss of its own: in about half of all grids items differ less than the tosses let them.
        draw = np.random.default_rng(0)
        tossed = [difference(*(draw.random((2, 5, 200)) < 0.5)) for _ in range(40)]
        none = [effect for effect in tossed if effect.item_se == 0.0]
        assert 10 <= len(none) <= 30
        for effect in none:
            assert effect.seed_se == effect.se > 0
            assert effect.half_width() == pytest.approx(float(stats.t.ppf(0.975, effect.seed_df)) * effect.se)

    def test_a_worked_example(self) -> None:
        # Run means 2 and 2.5, item means 3, 1, 0.5, 4.5, every residual ±0.25: MS_residual = 0.5 / 3.
        gap = np.array([[3.0, 1.0, 0.0, 4.0], [3.0, 1.0, 1.0, 5.0]])
        effect = difference(gap, np.zeros((2, 4)), paired_seeds=True)
        assert effect.estimate == 2.25
        assert effect.seed_se == pytest.approx(math.sqrt(0.125 / 2))
        assert effect.item_se == pytest.approx(math.sqrt((10.25 / 3 - 1 / 12) / 4))
        assert (effect.seed_df, effect.item_df) == (1, 3)
        assert effect.half_width() == pytest.approx(math.hypot(12.7062 * 0.25, 3.1824 * math.sqrt(5 / 6)), rel=1e-4)

    def test_answers_taken_as_independent_would_look_far_surer(self) -> None:
        a, b = random_outcomes(5, 300, 0.7, 5), random_outcomes(5, 300, 0.65, 6)
        naive = np.std(a - b, ddof=1) / math.sqrt(a.size)
        assert difference(a, b).se > 1.5 * naive

    def test_more_seeds_shrink_one_error_and_more_items_the_other(self) -> None:
        few = difference(random_outcomes(5, 500, 0.7, 7), random_outcomes(5, 500, 0.6, 8))
        seeds = difference(random_outcomes(80, 500, 0.7, 7), random_outcomes(80, 500, 0.6, 8))
        items = difference(random_outcomes(5, 8000, 0.7, 7), random_outcomes(5, 8000, 0.6, 8))
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
        effect = difference(random_outcomes(5, 100, 0.7, 9), random_outcomes(1, 100, 0.6, 10))
        assert effect.seed_se is not None
        assert effect.seed_se > 0
        assert not effect.seeds_known
        assert "unknown" in effect.interval().method

    def test_no_disagreement_still_has_a_width(self) -> None:
        same = random_outcomes(5, 50, 0.6, 11)
        same[:] = same[0]
        found = difference(same, same).interval()
        assert -0.06 < found.low < 0 < found.high < 0.06  # the bare variance is 0
        assert difference(same, same).p_value() == 1.0

    @pytest.mark.parametrize("paired_seeds", [False, True])
    @pytest.mark.parametrize("alpha", [0.2, 0.05, 0.008, 1e-5])
    def test_p_is_where_the_interval_touches_zero(self, paired_seeds: bool, alpha: float) -> None:
        effect = difference(random_outcomes(5, 100, 0.7, 12), random_outcomes(5, 100, 0.5, 13), paired_seeds)
        shifted = dataclasses.replace(effect, estimate=effect.half_width(alpha))
        assert shifted.p_value() == pytest.approx(alpha, rel=1e-6)

    def test_certainty_without_noise(self) -> None:
        assert difference(np.full((3, 5), 2.0), np.full((3, 5), 1.5)).p_value() <= 1e-15
        assert difference(np.full((3, 5), 2.0), np.full((3, 5), 2.0)).p_value() == 1.0

    def test_accuracy_of_one_strategy(self) -> None:
        grid = random_outcomes(5, 200, 0.9, 14)
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
    def test_grids_that_do_not_fit_are_an_error(self, a: list, b: list, paired_seeds: bool, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            difference(a, b, paired_seeds)

    def test_one_run_has_no_mean_squares(self) -> None:
        with pytest.raises(ValueError, match="one run"):
            mean_squares([[1, 0, 1]])
