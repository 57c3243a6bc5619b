"""Golden values of the literature, agreement with scipy and statsmodels, and simulated coverage."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from kit.evaluate import statistics
from kit.evaluate.power import minimum_detectable_effect
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


@pytest.mark.parametrize(("n", "points"), [(100, 12.4), (200, 8.8), (500, 5.6), (1000, 4.0), (2000, 2.8)])
def test_minimum_detectable_effect_golden_values(n, points):
    assert 100 * minimum_detectable_effect(n) == pytest.approx(points, abs=0.05)


def test_minimum_detectable_effect_is_found_with_the_promised_power():
    n, discordance = 200, 0.2
    effect = minimum_detectable_effect(n, discordance)
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


@pytest.mark.parametrize(("rate", "n"), [(0.05, 59), (0.01, 299), (0.005, 598)])
def test_so_many_prompts_without_an_event_rule_out_a_rate(rate, n):
    """The exact one-sided 95% bound, about 3/n."""
    assert statistics.upper_bound_of_none(n) <= rate < statistics.upper_bound_of_none(n - 1)


def test_a_bound_of_none_needs_prompts():
    with pytest.raises(ValueError, match="n > 0"):
        statistics.upper_bound_of_none(0)


@pytest.mark.parametrize(("n", "refusals", "false"), [(300, 293, 7), (500, 485, 15), (1000, 964, 36)])
def test_wilson_golden_values_for_refusals(n, refusals, false):
    """The least count whose interval lies above 95%, and the largest whose interval lies below 5%."""
    assert statistics.wilson(refusals, n).low >= 0.95 > statistics.wilson(refusals - 1, n).low
    assert statistics.wilson(false, n).high <= 0.05 < statistics.wilson(false + 1, n).high


@pytest.mark.parametrize(("b", "c", "exact"), [(1, 7, 0.0703), (30, 12, 0.0079), (5, 1, 0.2188)])
def test_mid_p_is_half_a_point_probability_below_the_exact_test(b, c, exact):
    k, n = min(b, c), b + c
    assert 2 * stats.binom.cdf(k, n, 0.5) == pytest.approx(exact, abs=5e-5)
    assert statistics.mcnemar(b, c) == pytest.approx(exact - stats.binom.pmf(k, n, 0.5), abs=5e-5)


@pytest.mark.parametrize(
    ("base", "tuned", "n", "low", "high"),
    [(11, 2, 100, 27, 96), (50, 9, 500, 66, 90), (200, 36, 2000, 75, 87)],
)
def test_reduction_golden_values_for_82_percent(base, tuned, n, low, high):
    """The same 82% of three sizes; how many pairs had both is not published, one of them is taken."""
    both = round(tuned / 2)
    found = statistics.reduction(PairedTable(both, base - both, tuned - both, n - base - tuned + both))
    assert found is not None and found.estimate == pytest.approx(0.82, abs=0.005)
    assert (100 * found.low, 100 * found.high) == pytest.approx((low, high), abs=2)


@pytest.mark.parametrize(
    ("table", "fall", "p_value"), [((5, 123, 2, 70), 0.945, 2e-34), ((4, 0, 43, 203), -10.75, 1e-13)]
)
def test_golden_values_of_the_guarded_model(table, fall, p_value):
    found = statistics.reduction(PairedTable(*table))
    assert found is not None and found.estimate == pytest.approx(fall, abs=0.001)
    assert statistics.mcnemar(table[1], table[2]) == pytest.approx(p_value, rel=0.2)
