"""Items in groups, against statsmodels' cluster-robust covariance and against items taken one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cotdistill.statistics.comparison import compare, difference, permutation_test
from tests.statistics.outcomes import random_outcomes

PASSAGES = [f"passage-{at // 5}" for at in range(60)]
UNEQUAL = [f"passage-{math.isqrt(at)}" for at in range(60)]


def scores(seed: int) -> np.ndarray:
    """Scores [60] that the items of a passage share a part of."""
    draw = np.random.default_rng(seed)
    return np.repeat(draw.normal(0, 0.3, 12), 5) + draw.normal(0, 0.2, 60)


class TestClusters:
    @pytest.mark.parametrize("clusters", [PASSAGES, UNEQUAL])
    def test_standard_error_interval_and_p_are_statsmodels_cluster_robust_ones(self, clusters: list[str]) -> None:
        from statsmodels.api import OLS

        a, b = scores(0), scores(1)
        codes = np.unique(clusters, return_inverse=True)[1]
        fit = OLS(a - b, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
        found = difference(a, b, clusters=clusters)
        assert found.clusters == len(set(clusters))
        assert found.item_se == pytest.approx(fit.bse[0])
        assert found.p_value() == pytest.approx(fit.pvalues[0])
        assert [found.interval().low, found.interval().high] == pytest.approx(fit.conf_int()[0])
        assert found.item_se > 1.3 * difference(a, b).item_se  # what items taken one by one would have hidden

    def test_clusters_of_one_item_are_no_clusters(self) -> None:
        a, b = random_outcomes(3, 40, 0.7, 0), random_outcomes(4, 40, 0.5, 1)
        one_by_one, each = difference(a, b), difference(a, b, clusters=[str(at) for at in range(40)])
        assert (each.se, each.df) == pytest.approx((one_by_one.se, one_by_one.df))
        assert one_by_one.clusters is None

    def test_seeds_keep_their_share(self) -> None:
        a, b = random_outcomes(3, 60, 0.7, 0), random_outcomes(3, 60, 0.5, 1)
        assert difference(a, b, clusters=PASSAGES).seed_se == difference(a, b).seed_se
        assert difference(a, b, clusters=PASSAGES).interval().method == "seeds x clusters"

    def test_items_repeated_ten_times_say_no_more_than_once(self) -> None:
        a, b = random_outcomes(3, 30, 0.7, 2).astype(float), random_outcomes(3, 30, 0.5, 3).astype(float)
        copies, names = np.repeat(a, 10, axis=1), np.repeat([str(at) for at in range(30)], 10)
        found = difference(copies, np.repeat(b, 10, axis=1), clusters=list(names))
        assert (found.item_se, found.df) == pytest.approx((difference(a, b).item_se, difference(a, b).df))
        assert difference(copies, np.repeat(b, 10, axis=1)).item_se < 0.4 * found.item_se

    def test_the_order_of_rows_does_not_matter(self) -> None:
        a, b = random_outcomes(2, 60, 0.7, 0), random_outcomes(2, 60, 0.5, 1)
        ids, order = [f"q{at:02}" for at in range(60)], np.random.default_rng(0).permutation(60)
        found = compare("a", "b", a, b, ids, clusters=PASSAGES)
        other = compare(
            "a", "b", a[:, order], b[:, order], [ids[at] for at in order], clusters=[PASSAGES[at] for at in order]
        )
        assert found == other
        assert found.effect.clusters == 12

    def test_permutation_swaps_clusters_whole(self) -> None:
        a = np.repeat([1, 1, 1, 1, 0, 0], 10)
        b = np.repeat([0, 0, 0, 0, 0, 1], 10)
        clusters = [str(at // 10) for at in range(60)]
        assert permutation_test(a, b, 0, clusters=clusters) == pytest.approx(2 * 6 / 32)  # 4 of 5 coins, or more
        assert permutation_test(a, b, 0) < 1e-4

    @pytest.mark.parametrize(("clusters", "what"), [(["x"] * 60, "one cluster"), (["x", "y"], "every item")])
    def test_what_cannot_be_clusters_is_refused(self, clusters: list[str], what: str) -> None:
        with pytest.raises(ValueError, match=what):
            difference(scores(0), scores(1), clusters=clusters)
