"""Golden values of the literature, agreement with scipy and statsmodels, and simulated coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from kit.evaluate import statistics
from kit.evaluate.statistics import PairedTable


@pytest.mark.parametrize(("events", "n"), [(0, 10), (1, 10), (91, 100), (455, 500), (10, 10), (3, 2000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(events, n, confidence):
    low, high = proportion_confint(events, n, alpha=1 - confidence, method="wilson")
    interval = statistics.wilson(events, n, confidence)
    assert interval.low == pytest.approx(low, abs=1e-12)
    assert interval.high == pytest.approx(high, abs=1e-12)


def test_wilson_golden_values_for_91_percent():
    of_500, of_200 = statistics.wilson(455, 500), statistics.wilson(182, 200)
    assert (round(of_500.low, 3), round(of_500.high, 3)) == (0.882, 0.932)
    assert (round(of_200.low, 3), round(of_200.high, 3)) == (0.862, 0.942)


@pytest.mark.parametrize(("events", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(events, n):
    with pytest.raises(ValueError, match="need 0 <= events <= n"):
        statistics.wilson(events, n)


@pytest.mark.parametrize(("b", "c", "mid_p"), [(1, 7, 0.0391), (30, 12, 0.0054), (5, 1, 0.125)])
def test_mcnemar_golden_values(b, c, mid_p):
    assert statistics.mcnemar(b, c) == pytest.approx(mid_p, abs=5e-5)


def test_mcnemar_of_the_xstest_pair():
    assert statistics.mcnemar(123, 2) == pytest.approx(2e-34, rel=0.1)
    assert statistics.mcnemar(0, 43) == pytest.approx(1e-13, rel=0.2)


def test_mcnemar_without_disagreement_says_nothing():
    assert statistics.mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (10, 4), (250, 190), (0, 2000)])
def test_mcnemar_agrees_with_scipy(b, c):
    k, n = min(b, c), b + c
    mid_p = (
        1 - stats.binom.pmf(k, n, 0.5)
        if b == c
        else 2 * stats.binom.cdf(k, n, 0.5) - stats.binom.pmf(k, n, 0.5)
    )
    assert statistics.mcnemar(b, c) == pytest.approx(mid_p)


@pytest.mark.parametrize(
    ("table", "golden"),
    [
        ((1, 1, 7, 12), (0.2857, 0.0256, 0.5069)),  # Newcombe 1998, table I (airway hyper-responsiveness)
        ((345, 107, 45, 3), (-0.124, -0.171, -0.077)),
    ],
)
def test_newcombe_golden_values(table, golden):
    found = statistics.newcombe(PairedTable(*table))
    digits = 4 if table[0] == 1 else 3
    assert (found.estimate, found.low, found.high) == pytest.approx(golden, abs=0.6 * 10**-digits)


def test_newcombe_mirrors_when_the_systems_are_swapped():
    one, other = (
        statistics.newcombe(PairedTable(40, 9, 21, 30)),
        statistics.newcombe(PairedTable(40, 21, 9, 30)),
    )
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize(
    "table", [(20, 0, 0, 0), (0, 0, 0, 20), (0, 20, 0, 0), (10, 0, 0, 10), (0, 10, 10, 0)]
)
def test_newcombe_stays_within_bounds_at_the_corners(table):
    found = statistics.newcombe(PairedTable(*table))
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.high > found.low  # never a false certainty


@pytest.mark.slow
def test_newcombe_covers_the_true_difference_at_the_promised_rate():
    chances = np.array([0.3, 0.05, 0.2, 0.45])
    truth = 0.15
    tables = np.random.default_rng(1).multinomial(60, chances, size=3000)
    intervals = [statistics.newcombe(PairedTable(*map(int, table))) for table in tables]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.94 <= covered <= 0.975


def test_wilson_covers_a_small_rate_at_the_promised_rate():
    n, truth = 200, 0.03
    counts = np.random.default_rng(2).binomial(n, truth, size=4000)
    intervals = {count: statistics.wilson(int(count), n) for count in set(counts.tolist())}
    covered = np.mean([intervals[c].low <= truth <= intervals[c].high for c in counts.tolist()])
    assert 0.93 <= covered <= 0.98


def test_midp_keeps_its_level_and_is_less_shy_than_exact():
    disagreements = np.random.default_rng(3).binomial(40, 0.5, size=4000)
    by_count = {c: statistics.mcnemar(c, 40 - c) for c in range(41)}
    exact_p = {c: statsmodels_mcnemar([[5, c], [40 - c, 5]], exact=True).pvalue for c in range(41)}
    mid = np.mean([by_count[int(c)] <= 0.05 for c in disagreements])
    exact = np.mean([exact_p[int(c)] <= 0.05 for c in disagreements])
    assert exact <= mid <= 0.055


def test_reduction_golden_value_eleven_to_two():
    found = statistics.reduction(PairedTable(both=1, only_base=10, only_tuned=1, neither=88))
    assert found is not None and not found.at_least
    assert (round(found.estimate, 2), round(found.low, 2), round(found.high, 2)) == (0.82, 0.27, 0.95)


def test_reduction_without_a_tuned_event_is_an_at_least():
    found = statistics.reduction(PairedTable(both=0, only_base=40, only_tuned=0, neither=60))
    assert found is not None and found.at_least
    assert found.estimate == found.high == 1.0
    assert found.low < 1 - statistics.wilson(0, 100).high / 0.4, "base's own interval counts too"
    assert found.low == pytest.approx(0.9050, abs=1e-4)


@pytest.mark.parametrize(("n", "base", "tuned"), [(50, 0.1, 0.01), (200, 0.1, 0.005), (200, 0.5, 0.004)])
def test_at_least_keeps_its_promise(n, base, tuned):
    """Where tuned had no event, the true reduction lies above the low end as often as promised."""
    generator = np.random.default_rng(12)
    found = [
        statistics.reduction(PairedTable(0, int(x), 0, n - int(x)))
        for x in generator.binomial(n, base, size=4000)[generator.binomial(n, tuned, size=4000) == 0]
    ]
    lows = [one.low for one in found if one is not None]
    assert np.mean([low <= 1 - tuned / base for low in lows]) >= 0.95


@pytest.mark.parametrize(("events", "n"), [(3, 100), (20, 100), (100, 100), (1, 1)])
def test_a_reduction_of_systems_that_never_disagree_has_a_width(events, n):
    """No disagreement seen is not no disagreement possible."""
    found = statistics.reduction(PairedTable(events, 0, 0, n - events))
    assert found is not None and found.estimate == 0 and not found.at_least
    assert -4 / events < found.low < -0.5 / events and 0.4 / (events + 1) < found.high < 1
    assert 1 - found.high == pytest.approx(1 / (1 - found.low)), "swapped systems mirror"


def test_reduction_without_a_base_event_does_not_exist():
    assert statistics.reduction(PairedTable(0, 0, 5, 95)) is None


def test_reduction_covers_the_true_ratio():
    tables = np.random.default_rng(4).multinomial(400, [0.05, 0.25, 0.03, 0.67], size=2000)
    found = [statistics.reduction(PairedTable(*map(int, table))) for table in tables]
    truth = 1 - 0.08 / 0.30
    assert 0.93 <= np.mean([f.low <= truth <= f.high for f in found]) <= 0.975


def test_bootstrap_of_independent_values_is_near_the_t_interval():
    values = np.random.default_rng(5).normal(1.0, 2.0, size=300)
    found = statistics.bootstrap_mean(values, [str(i) for i in range(300)])
    low, high = stats.t.interval(0.95, 299, values.mean(), values.std(ddof=1) / math.sqrt(300))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_bootstrap_over_clusters_is_wider_when_clusters_agree():
    values = np.repeat(np.random.default_rng(6).normal(size=30), 10)
    alone = statistics.bootstrap_mean(values, [str(i) for i in range(300)])
    together = statistics.bootstrap_mean(values, [str(i // 10) for i in range(300)])
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_bootstrap_does_not_depend_on_the_order():
    values = np.random.default_rng(7).normal(size=50)
    clusters = [f"c{i // 2}" for i in range(50)]
    order = np.random.default_rng(8).permutation(50)
    one = statistics.bootstrap_mean(values, clusters)
    other = statistics.bootstrap_mean(values[order], [clusters[i] for i in order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_bootstrap_p_value_of_identical_systems_is_one():
    assert statistics.bootstrap_p_value(np.zeros(20), [str(i) for i in range(20)]) == 1.0


def test_bootstrap_p_value_is_small_for_a_clear_difference_and_never_zero():
    found = statistics.bootstrap_p_value(np.full(20, 0.3), [str(i) for i in range(20)], draws=1000)
    assert 0 < found <= 0.002


def test_ratio_of_medians_mirrors_and_covers():
    generator = np.random.default_rng(10)
    base, tuned = generator.lognormal(1.0, 0.3, 60), generator.lognormal(0.0, 0.3, 60)
    found, swapped = statistics.ratio_of_medians(base, tuned), statistics.ratio_of_medians(tuned, base)
    assert found.low < math.e < found.high
    assert (found.low, found.high) == pytest.approx((1 / swapped.high, 1 / swapped.low), rel=1e-6)


def test_the_difference_of_medians_agrees_with_their_ratio():
    """One says seconds, the other a factor; near the border both must say the same."""
    generator = np.random.default_rng(13)
    shown = 0
    for shift in np.linspace(0, 0.5, 12):
        base, tuned = generator.lognormal(shift, 0.4, 16), generator.lognormal(0.0, 0.4, 16)
        ratio = statistics.ratio_of_medians(base, tuned, draws=999)
        gap, p_value = statistics.difference_of_medians(base, tuned, draws=999)
        assert gap.estimate == pytest.approx(np.median(tuned) - np.median(base))
        if p_value < 0.05:
            shown += 1
            assert (ratio.low > 1 and gap.high < 0) or (ratio.high < 1 and gap.low > 0)
        elif p_value > 0.06:
            assert ratio.low <= 1 <= ratio.high and gap.low <= 0 <= gap.high
    assert 0 < shown < 12


def test_ratio_of_medians_refuses_times_that_are_none():
    with pytest.raises(ValueError, match="positive"):
        statistics.ratio_of_medians([0.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(("n", "points"), [(100, 12.4), (200, 8.8), (500, 5.6), (1000, 4.0), (2000, 2.8)])
def test_minimum_detectable_effect_golden_values(n, points):
    assert 100 * statistics.minimum_detectable_effect(n) == pytest.approx(points, abs=0.05)


def test_minimum_detectable_effect_is_found_with_the_promised_power():
    n, discordance = 200, 0.2
    effect = statistics.minimum_detectable_effect(n, discordance)
    b, c = (discordance - effect) / 2, (discordance + effect) / 2
    tables = np.random.default_rng(11).multinomial(n, [b, c, 1 - discordance], size=1000)
    shown = np.mean([statistics.mcnemar(int(t[0]), int(t[1])) <= 0.05 for t in tables])
    assert 0.75 <= shown <= 0.87


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "wanted"),
    [
        (0.01, 0.2, True, "improved"),
        (0.01, 0.2, False, "worse"),
        (-0.2, -0.01, True, "worse"),
        (-0.2, -0.01, False, "improved"),
        (-0.1, 0.1, True, "not shown"),
        (0.0, 0.1, True, "not shown"),
    ],
)
def test_verdict_has_three_states(low, high, higher_is_better, wanted):
    settings = {"confidence": 0.95, "higher_is_better": higher_is_better}
    assert statistics.outcome(low, high, 0.001, **settings) == wanted
    assert statistics.outcome(low, high, 0.05, **settings) == "not shown"


def test_a_verdict_needs_the_interval_and_the_test():
    """Four pairs disagree, all one way: Newcombe's interval leaves out zero, and p is 6%."""
    found, p_value = statistics.newcombe(PairedTable(8, 0, 4, 8)), statistics.mcnemar(0, 4)
    assert found.low > 0 and p_value > 0.05
    shown = statistics.outcome(found.low, found.high, p_value, confidence=0.95, higher_is_better=True)
    assert shown == "not shown"
