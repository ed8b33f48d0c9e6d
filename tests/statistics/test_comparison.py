"""Comparisons, their sentences, detectable effects, and what holds for every pair of outcomes."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cotdistill.statistics.comparison import (
    Comparison,
    adjust,
    average,
    compare,
    difference,
    holm,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_bootstrap,
    permutation_test,
    sentence,
    shown_p,
    wilson,
)
from cotdistill.statistics.effect import Effect
from tests.statistics.outcomes import pairs, random_outcomes


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
        effect = difference(random_outcomes(5, 200, 0.7, 15), random_outcomes(5, 200, 0.6, 16))
        centre = effect.detectable() / effect.se
        power = stats.nct.sf(stats.t.ppf(0.975, effect.df), effect.df, centre)
        assert power == pytest.approx(0.8, abs=0.02)


def comparison(a: np.ndarray, b: np.ndarray, **options: bool) -> Comparison:
    return compare("post-cot", "cot", a, b, [f"q{i:03d}" for i in range(a.shape[-1])], **options)


def stated(estimate: float, se: float, p_holm: float | None = None, seeds_known: bool = True) -> str:
    """The sentence for an effect with 1,000 degrees of freedom."""
    effect = Effect(estimate, se, 0.0, 1000.0, 1000.0, seeds_known, False, (-1.0, 1.0))
    base = comparison(random_outcomes(5, 20, 0.5, 0), random_outcomes(5, 20, 0.5, 1))
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
        a, b = random_outcomes(5, 120, 0.8, 17), random_outcomes(3, 120, 0.5, 18)
        found = comparison(a, b)
        assert (found.mean, found.baseline_mean) == (a.mean(), b.mean())
        assert found.difference.estimate == pytest.approx(a.mean() - b.mean())
        assert (found.n_items, found.n_seeds, found.baseline_n_seeds) == (120, 5, 3)
        assert found.mcnemar == tuple(mcnemar_exact(x, y) for x, y in zip(a, b, strict=False))
        assert found.difference == difference(a, b).interval()
        assert found.p == difference(a, b).p_value()
        assert found.seed_se is not None
        assert math.hypot(found.seed_se, found.item_se) == pytest.approx(found.effect.se)
        assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["name"] == "post-cot"

    def test_the_order_of_the_rows_does_not_change_a_bit(self) -> None:
        a, b, ids = (random_outcomes(5, 90, 0.7, 19), random_outcomes(5, 90, 0.6, 20), [f"q{i}" for i in range(90)])
        order = np.random.default_rng(0).permutation(90)
        shuffled = compare("x", "y", a[:, order], b[:, order], [ids[i] for i in order])
        assert shuffled == compare("x", "y", a, b, ids)

    def test_what_no_design_could_show_is_not_detectable(self) -> None:
        a, b = np.array([[1.0] * 20, [0.0] * 20]), random_outcomes(2, 20, 0.5, 3)
        assert comparison(a, b).figures()["detectable"] is None
        assert comparison(0.9 * a, b).mde is None  # nor by scores from 0 to 1
        wide = comparison(2 * a, b)  # other scores have no greatest difference that is known
        assert wide.mde is not None
        assert wide.mde > 1

    def test_intervals_of_scores_from_0_to_1_end_at_100_points(self) -> None:
        found = comparison(np.array([[1.0, 0.0]]), np.array([[0.5, 0.7]]))
        assert (found.difference.low, found.difference.high, found.mcnemar) == (-1.0, 1.0, ())

    def test_real_outcomes_have_no_mcnemar(self) -> None:
        assert comparison(random_outcomes(3, 10, 0.5, 0) * 0.5, random_outcomes(3, 10, 0.5, 1)).mcnemar == ()

    def test_ids_must_name_the_columns_once(self) -> None:
        grid = random_outcomes(2, 3, 0.5, 0)
        with pytest.raises(ValueError, match="twice"):
            compare("x", "y", grid, grid, ["a", "b", "a"])
        with pytest.raises(ValueError, match="2 ids"):
            compare("x", "y", grid, grid, ["a", "b"])

    def test_a_family_is_adjusted_together(self) -> None:
        baseline = random_outcomes(5, 200, 0.5, 21)
        others = (random_outcomes(5, 200, share, int(100 * share)) for share in (0.5, 0.55, 0.8))
        alone = [comparison(other, baseline) for other in others]
        family = adjust(alone)
        assert [c.p_holm for c in family] == holm([c.p for c in alone])
        assert [c.p for c in family] == [c.p for c in alone]
        assert all((new.mde or 0) > (old.mde or 1) and new.family == 3 for new, old in zip(family, alone, strict=True))
        assert adjust([]) == []

    def test_one_comparison_is_its_own_family(self) -> None:
        alone = comparison(random_outcomes(5, 50, 0.5, 1), random_outcomes(5, 50, 0.5, 2))
        assert adjust([alone]) == [dataclasses.replace(alone, p_holm=alone.p)]


class TestSentence:
    def test_no_difference_says_how_small_it_must_be_and_what_would_have_been_seen(self) -> None:
        assert stated(0.0, 0.0091742) == (
            "post-cot is within ±1.8 points of cot (95% interval -1.8 to +1.8; p = 1.000);"
            " a difference of 2.6 would have been seen (power 80%)."
        )

    def test_a_difference_beyond_all_that_are_possible_is_not_promised(self) -> None:
        assert stated(0.0, 0.4).endswith("; no difference, however large, would have been seen (power 80%).")

    def test_a_difference_says_its_size_and_direction(self) -> None:
        assert stated(0.05, 0.01, p_holm=0.0004) == (
            "post-cot is 5.0 points above cot (95% interval +3.0 to +7.0; p < 0.001 after Holm over 6 comparisons)."
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


class TestProperties:
    @given(st.integers(0, 500), st.integers(1, 500))
    def test_wilson_contains_its_estimate_and_stays_a_share(self, right: int, n: int) -> None:
        found = wilson(min(right, n), n)
        assert 0 <= found.low <= found.estimate <= found.high <= 1

    @settings(deadline=None)
    @given(pairs, st.booleans())
    def test_intervals_contain_the_estimate(self, pair: tuple[np.ndarray, np.ndarray], paired_seeds: bool) -> None:
        a, b = pair
        assert (interval := difference(a, b, paired_seeds).interval()).estimate in interval
        assert (interval := paired_bootstrap(a[0], b[0], seed=0, resamples=200)).estimate in interval
        assert (interval := average(a).interval()).estimate in interval

    @settings(deadline=None)
    @given(pairs, st.booleans())
    def test_swapping_the_sides_flips_the_sign(self, pair: tuple[np.ndarray, np.ndarray], paired_seeds: bool) -> None:
        a, b = pair
        there, back = difference(a, b, paired_seeds).interval(), difference(b, a, paired_seeds).interval()
        assert (there.estimate, there.low, there.high) == (-back.estimate, -back.high, -back.low)
        assert difference(a, b, paired_seeds).p_value() == difference(b, a, paired_seeds).p_value()
        assert permutation_test(a[0], b[0], seed=0) == permutation_test(b[0], a[0], seed=0)
        one, other = mcnemar_exact(a[0] > 0, b[0] > 0), mcnemar_exact(b[0] > 0, a[0] > 0)
        assert (one.only_a, one.only_b, one.p) == (other.only_b, other.only_a, other.p)
        there, back = paired_bootstrap(a[0], b[0], 0, 2000), paired_bootstrap(b[0], a[0], 0, 2000)
        assert there.estimate == -back.estimate
        assert there.low == pytest.approx(-back.high, abs=0.25 * (there.high - there.low) + 1e-12)

    @settings(deadline=None)
    @given(pairs, st.randoms(use_true_random=False))
    def test_the_order_of_items_and_of_runs_does_not_matter(self, pair: tuple[np.ndarray, np.ndarray], random) -> None:
        a, b = pair
        items, runs = list(range(a.shape[1])), list(range(len(a)))
        random.shuffle(items)
        random.shuffle(runs)
        c, d = a[:, items], b[:, items]
        assert difference(c[runs], d).p_value() == pytest.approx(difference(a, b).p_value(), rel=1e-6, abs=1e-12)
        assert permutation_test(c[0], d[0], seed=0) == permutation_test(a[0], b[0], seed=0)
        one, other = paired_bootstrap(c[0], d[0], 0, 200), paired_bootstrap(a[0], b[0], 0, 200)
        assert (one.low, one.high) == (other.low, other.high)


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "< 0.001"), (1e-15, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.25, "0.250")]
)
def test_a_p_value_is_never_shown_as_zero(p: float, shown: str) -> None:
    assert shown_p(p) == shown
