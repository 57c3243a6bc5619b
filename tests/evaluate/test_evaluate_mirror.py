"""Differences are antisymmetric to the last digit: whoever is held against whom, the same is said."""

import numpy as np
import pytest

from kit.evaluate.bootstrap import (
    bootstrap_mean,
    bootstrap_p_value,
    difference_of_medians,
    ratio_of_medians,
)
from kit.evaluate.statistics import Interval, PairedTable, mcnemar, newcombe, points_down
from kit.evaluate.sums import compare_sums


def mirrored(interval: Interval) -> Interval:
    return Interval(-interval.estimate, -interval.high, -interval.low, interval.method)


def test_newcombe_mirrors_on_every_table_of_nine_and_on_large_ones():
    tables = [(a, b, c, 9 - a - b - c) for a in range(10) for b in range(10 - a) for c in range(10 - a - b)]
    dice = np.random.default_rng(0)
    tables += [tuple(int(cell) for cell in row) for row in dice.integers(0, 90, size=(200, 4))]
    for both, one, other, neither in tables:
        ours = newcombe(PairedTable(both, one, other, neither))
        assert ours == mirrored(newcombe(PairedTable(both, other, one, neither)))
        assert mcnemar(one, other) == mcnemar(other, one)


@pytest.mark.parametrize("kind", ["expanded", "bca", "percentile"])
@pytest.mark.parametrize("shape", ["skewed", "balanced", "clustered", "equal", "one prompt"])
def test_a_bootstrap_of_the_negated_values_is_its_mirror_image(kind, shape):
    for seed in range(8):
        dice = np.random.default_rng(seed)
        values = dice.normal(0.1, 1, 60) ** 3
        if shape == "balanced":  # a mean of exactly 0, where no sign says which side is up
            values = dice.permutation(np.concatenate([values, -values]))
        values = np.full(40, 0.25) if shape == "equal" else values[:1] if shape == "one prompt" else values
        clusters = [str(n // 7 if shape == "clustered" else n) for n in range(len(values))]
        how = {"kind": kind, "draws": 300, "seed": 5}
        assert bootstrap_mean(values, clusters, **how) == mirrored(bootstrap_mean(-values, clusters, **how))
        p_values = [bootstrap_p_value(side, clusters, draws=300) for side in (values, -values)]
        assert p_values[0] == p_values[1]


def test_a_figure_of_sums_mirrors_with_its_systems():
    def share(sums):
        return sums[..., 0] / sums[..., 1]

    for seed in range(10):
        dice = np.random.default_rng(seed)
        base, tuned = (np.stack([dice.integers(0, 5, 50), dice.integers(5, 9, 50)], axis=1) for _ in range(2))
        clusters = [str(n // 3) for n in range(50)]
        x, y, gap, p = compare_sums(base * 1.0, tuned * 1.0, clusters, share, draws=300)
        y2, x2, gap2, p2 = compare_sums(tuned * 1.0, base * 1.0, clusters, share, draws=300)
        assert (x, y, p) == (x2, y2, p2) and gap == mirrored(gap2)


def test_response_times_mirror_and_their_ratio_is_inverted():
    for seed in range(10):
        dice = np.random.default_rng(seed)
        x, y = dice.lognormal(0, 1, 21), dice.lognormal(0.2, 1, 21)
        (ours, p), (theirs, q) = (difference_of_medians(*pair, draws=300) for pair in ((x, y), (y, x)))
        assert ours == mirrored(theirs) and p == q
        one, other = (ratio_of_medians(*pair, draws=300) for pair in ((x, y), (y, x)))
        assert (one.low, one.high) == (pytest.approx(1 / other.high), pytest.approx(1 / other.low))


def test_the_side_is_that_of_the_first_value_that_is_not_zero():
    assert points_down(0.0, -1.0, 2.0) and not points_down(0.0, 3.0, -1.0) and not points_down(0.0, 0.0)
    assert str(Interval(0.0, -1.0, 0.0, "m").mirrored.low) == "0.0", "nothing is minus nothing"
