"""Bootstrap intervals: agreement with scipy, edges, and simulated coverage of skewed and grouped scores."""

import math

import numpy as np
import pytest
from scipy import stats

from kit.evaluate import bootstrap


def alone(n: int) -> list[str]:
    return [str(place) for place in range(n)]


def coverage(values, clusters, truth, repeats=600, **how) -> float:
    """The share of data sets, made by `values(generator)`, whose interval holds the truth."""
    generator = np.random.default_rng(20)
    found = [
        bootstrap.bootstrap_mean(values(generator), clusters, draws=400, seed=place, **how)
        for place in range(repeats)
    ]
    return float(np.mean([interval.low <= truth <= interval.high for interval in found]))


def test_bootstrap_of_independent_values_is_near_the_t_interval():
    values = np.random.default_rng(5).normal(1.0, 2.0, size=300)
    found = bootstrap.bootstrap_mean(values, [str(i) for i in range(300)])
    low, high = stats.t.interval(0.95, 299, values.mean(), values.std(ddof=1) / math.sqrt(300))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_bootstrap_over_clusters_is_wider_when_clusters_agree():
    values = np.repeat(np.random.default_rng(6).normal(size=30), 10)
    alone = bootstrap.bootstrap_mean(values, [str(i) for i in range(300)])
    together = bootstrap.bootstrap_mean(values, [str(i // 10) for i in range(300)])
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_bootstrap_does_not_depend_on_the_order():
    values = np.random.default_rng(7).normal(size=50)
    clusters = [f"c{i // 2}" for i in range(50)]
    order = np.random.default_rng(8).permutation(50)
    one = bootstrap.bootstrap_mean(values, clusters)
    other = bootstrap.bootstrap_mean(values[order], [clusters[i] for i in order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_bootstrap_p_value_of_identical_systems_is_one():
    assert bootstrap.bootstrap_p_value(np.zeros(20), [str(i) for i in range(20)]) == 1.0


def test_bootstrap_p_value_is_small_for_a_clear_difference_and_never_zero():
    found = bootstrap.bootstrap_p_value(np.full(20, 0.3), [str(i) for i in range(20)], draws=1000)
    assert 0 < found <= 0.002


def test_ratio_of_medians_mirrors_and_covers():
    generator = np.random.default_rng(10)
    base, tuned = generator.lognormal(1.0, 0.3, 60), generator.lognormal(0.0, 0.3, 60)
    found, swapped = bootstrap.ratio_of_medians(base, tuned), bootstrap.ratio_of_medians(tuned, base)
    assert found.low < math.e < found.high
    assert (found.low, found.high) == pytest.approx((1 / swapped.high, 1 / swapped.low), rel=1e-6)


def test_the_difference_of_medians_agrees_with_their_ratio():
    """One says seconds, the other a factor; near the border both must say the same."""
    generator = np.random.default_rng(13)
    shown = 0
    for shift in np.linspace(0, 0.5, 12):
        base, tuned = generator.lognormal(shift, 0.4, 16), generator.lognormal(0.0, 0.4, 16)
        ratio = bootstrap.ratio_of_medians(base, tuned, draws=999)
        gap, p_value = bootstrap.difference_of_medians(base, tuned, draws=999)
        assert gap.estimate == pytest.approx(np.median(tuned) - np.median(base))
        if p_value < 0.05:
            shown += 1
            assert (ratio.low > 1 and gap.high < 0) or (ratio.high < 1 and gap.low > 0)
        elif p_value > 0.06:
            assert ratio.low <= 1 <= ratio.high and gap.low <= 0 <= gap.high
    assert 0 < shown < 12


def test_ratio_of_medians_refuses_times_that_are_none():
    with pytest.raises(ValueError, match="positive"):
        bootstrap.ratio_of_medians([0.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("degrees", [5, 9, 29, 200])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_t_quantile_agrees_with_scipy(degrees, confidence):
    wanted = stats.t.ppf(0.5 + confidence / 2, degrees)
    assert bootstrap.t_quantile(confidence, degrees) == pytest.approx(wanted, rel=0.01)


def test_bca_agrees_with_scipy():
    """The two ends only: their draws are not the same."""
    values = np.random.default_rng(21).lognormal(0, 0.8, 40)
    wanted = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, random_state=1)
    found = bootstrap.bootstrap_mean(values, alone(40), kind="bca", draws=20_000)
    ends = wanted.confidence_interval
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=0.015)


def test_bca_leans_to_the_long_tail_and_mirrors():
    values = np.random.default_rng(22).exponential(1, 30)
    plain = bootstrap.bootstrap_mean(values, alone(30), kind="percentile")
    bca = bootstrap.bootstrap_mean(values, alone(30), kind="bca")
    assert bca.low > plain.low and bca.high > plain.high
    assert bca.method == "BCa bootstrap, 10,000 draws"
    mirrored = bootstrap.bootstrap_mean(-values, alone(30), kind="bca")
    assert (mirrored.low, mirrored.high) == pytest.approx((-bca.high, -bca.low), abs=0.01)


@pytest.mark.parametrize("values", [[0.3] * 12, [0.1 + 0.2] * 6 + [0.3] * 6, [0.0] * 12, [0.7]])
def test_where_clusters_do_not_differ_the_percentile_interval_stands_in_and_says_so(values):
    found = bootstrap.bootstrap_mean(values, alone(len(values)), draws=500)
    assert found.method == "percentile bootstrap, 500 draws, as BCa does not exist here"
    assert (found.low, found.high) == pytest.approx((found.estimate, found.estimate))


@pytest.mark.parametrize(
    ("name", "n", "least"),
    [("beta", 15, 0.90), ("beta", 60, 0.925), ("mostly zero", 30, 0.92), ("exponential", 100, 0.92)],
)
def test_the_reported_interval_covers_skewed_scores(name, n, least):
    draw, truth = {
        "beta": (lambda generator: generator.beta(0.3, 2, n), 0.3 / 2.3),
        "mostly zero": (lambda g: np.where(g.random(n) < 0.8, 0.0, g.beta(2, 2, n)), 0.1),
        "exponential": (lambda generator: generator.exponential(1, n), 1.0),
    }[name]
    assert least <= coverage(draw, alone(n), truth) <= 0.98


def test_the_reported_interval_covers_more_of_few_skewed_scores_than_the_percentile_one():
    """Why reports show the expanded BCa interval: with 12 scores the percentile one is far too sure."""

    def draw(generator):
        return generator.beta(0.3, 2, 12)

    plain, reported = (coverage(draw, alone(12), 0.3 / 2.3, kind=k) for k in ("percentile", "expanded"))
    assert plain <= 0.89 and reported >= plain + 0.03


def test_the_interval_covers_where_prompts_share_groups_and_would_not_without_them():
    def draw(generator):
        shared = np.repeat(generator.exponential(1, 40), 5)
        return shared + generator.normal(0, 0.5, 200)

    grouped = [str(place // 5) for place in range(200)]
    assert 0.91 <= coverage(draw, grouped, 1.0) <= 0.98
    assert coverage(draw, alone(200), 1.0) < 0.75


def test_intervals_of_medians_cover():
    generator, ratios, gaps = np.random.default_rng(23), [], []
    for place in range(300):
        prompt = generator.lognormal(0, 0.5, 24)  # long prompts take both systems longer
        base, tuned = (prompt * generator.lognormal(centre, 0.2, 24) for centre in (0.7, 0.0))
        ratio = bootstrap.ratio_of_medians(base, tuned, draws=300, seed=place)
        ratios.append(ratio.low <= math.exp(0.7) <= ratio.high)
        gap, _ = bootstrap.difference_of_medians(base, tuned, draws=300, seed=place)
        gaps.append(gap.low <= 1 - math.exp(0.7) <= gap.high)
    assert 0.92 <= np.mean(ratios) <= 0.995 and 0.92 <= np.mean(gaps) <= 0.995


def test_the_bootstrap_test_keeps_its_level():
    generator = np.random.default_rng(24)
    p_values = [
        bootstrap.bootstrap_p_value(generator.normal(0, 1, 40), alone(40), draws=400, seed=place)
        for place in range(500)
    ]
    assert 0.02 <= np.mean([p <= 0.05 for p in p_values]) <= 0.085


def test_bca_shares_follow_the_formula():
    """Three in five draws below the estimate, no skewness: the ends move by twice the bias."""
    bias = stats.norm.ppf(0.6)
    drawn, even = [0.0] * 55 + [1.0] * 10 + [2.0] * 35, [0.9, 1.0, 1.1]
    low, high = bootstrap.bca_shares(1.0, drawn, even, 1.96)
    assert (low, high) == pytest.approx(stats.norm.cdf([2 * bias - 1.96, 2 * bias + 1.96]))
    skewed = [1.0] * 9 + [0.0]  # one cluster without which the mean falls: a long upper tail
    balanced = [0.0] * 50 + [2.0] * 50
    acceleration = stats.skew(1 - np.array(skewed)) / (6 * math.sqrt(10))
    ends = [z / (1 - acceleration * z) for z in (-1.96, 1.96)]
    assert bootstrap.bca_shares(1.0, balanced, skewed, 1.96) == pytest.approx(stats.norm.cdf(ends))
    assert acceleration > 0
