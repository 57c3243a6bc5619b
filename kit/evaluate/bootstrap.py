"""Bootstrap intervals and p-values over groups of prompts: scores, and medians of response times.

Draws are seeded, so the same data gives the same interval. Needs numpy only.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kit.evaluate.statistics import Floats, Interval, normal_quantile, paired, points_down

Kind = Literal["expanded", "bca", "percentile"]

_DRAWS_AT_ONCE = 1_000  # bounds the memory of a bootstrap to this many draws times the clusters
_NO_SPREAD = 1e-24  # squared: what rounding leaves where every cluster says the same


def clustered(clusters: Sequence[str]) -> bool:
    """Whether some prompts belong together, so that they are not independent."""
    return len(set(clusters)) < len(clusters)


def bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence[str],
    *,
    kind: Kind = "expanded",
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a mean, whole clusters drawn with replacement.

    Args:
        values: one number a prompt; for a paired difference, tuned minus base.
        clusters: the group of each prompt; prompts of one group are drawn together.
        kind: `percentile` takes the draws' own quantiles. `bca` moves them by the draws' bias z0 and the
            acceleration a: to the shares Φ(z0 + (z0 + z) / (1 - a·(z0 + z))) with z = ±1.96 at 95%, where a
            comes from leaving out one cluster at a time. `expanded` puts sqrt(k / (k - 1))·t of k - 1
            degrees of freedom in the place of z: draws from k clusters spread too little. It covers best
            (`bench/coverage.py`), so it is what reports show.

    Where z0 or a does not exist (all clusters say the same, or all draws lie on one side of the estimate)
    the shares are Φ(z), and `method` says so. The result does not depend on the order of the prompts, and
    that of the negated values is its mirror image: the seed draws the same clusters for both.
    Source: Efron, JASA 1987, 82:171; Davison and Hinkley 1997, 3.8 (clusters); Hesterberg, Am. Statist.
    2015, 69:371 (expanded).
    """
    sums, sizes = _cluster_sums(values, clusters)
    if points_down(float(sums.sum()), *sums):
        return _mean_interval(-sums, sizes, kind, draws, confidence, seed).mirrored
    return _mean_interval(sums, sizes, kind, draws, confidence, seed)


def widened(
    interval: Interval,
    values: ArrayLike,
    clusters: Sequence[str],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A rate's interval, stretched to hold `bootstrap_mean`: never narrower than for independent prompts."""
    drawn = bootstrap_mean(values, clusters, draws=draws, confidence=confidence, seed=seed)
    low, high = min(interval.low, drawn.low), max(interval.high, drawn.high)
    return Interval(interval.estimate, low, high, f"{interval.method}, widened by bootstrap over groups")


def _mean_interval(
    sums: Floats, sizes: Floats, kind: Kind, draws: int, confidence: float, seed: int
) -> Interval:
    estimate = float(sums.sum() / sizes.sum())
    means = _drawn_means(sums, sizes, draws, seed)
    z = normal_quantile(confidence)
    if kind == "expanded" and len(sums) > 1:
        z = math.sqrt(len(sums) / (len(sums) - 1)) * t_quantile(confidence, len(sums) - 1)
    shares = None if kind == "percentile" else bca_shares(estimate, means, _left_out_means(sums, sizes), z)
    name = f"{'BCa' if shares else 'percentile'} bootstrap, {draws:,} draws"
    if kind != "percentile" and shares is None:
        name += ", as BCa does not exist here"
    low, high = np.quantile(means, shares or (NormalDist().cdf(-z), NormalDist().cdf(z)))
    return Interval(estimate, float(low), float(high), name)


def bca_shares(
    estimate: float, drawn: ArrayLike, left_out: ArrayLike, z: float
) -> tuple[float, float] | None:
    """Between which shares of the draws the BCa interval lies; None where it does not exist.

    Args:
        estimate: of all the data.
        drawn: of every bootstrap draw; a draw equal to the estimate counts half.
        left_out: of the data without each cluster in turn (jackknife).
        z: how many standard errors the interval reaches to either side.
    """
    draws, jackknife = np.asarray(drawn, dtype=np.float64), np.asarray(left_out, dtype=np.float64)
    below = float(np.mean(draws < estimate) + np.mean(draws == estimate) / 2)
    gaps = jackknife.mean() - jackknife
    spread = float(np.sum(gaps**2))
    if not 0 < below < 1 or spread <= _NO_SPREAD * max(1.0, estimate**2):
        return None
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(below), float(np.sum(gaps**3)) / (6 * spread**1.5)
    down, up = 1 - acceleration * (bias - z), 1 - acceleration * (bias + z)
    if min(down, up) <= 0:
        return None
    return normal.cdf(bias + (bias - z) / down), normal.cdf(bias + (bias + z) / up)


def t_quantile(confidence: float, degrees: float) -> float:
    """The two-sided quantile of Student's t, within 1% from 3 degrees of freedom on, too small below.

    Fisher and Cornish's expansion in 1/degrees: Abramowitz and Stegun 1964, 26.7.5.
    """
    x = normal_quantile(confidence)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return float(x + sum(term / degrees**power for power, term in enumerate(terms, start=1)))


def _left_out_means(sums: Floats, sizes: Floats) -> Floats:
    """The mean without each cluster in turn; empty where there is one only."""
    if len(sums) < 2:
        return np.zeros(1)
    means: Floats = (sums.sum() - sums) / (sizes.sum() - sizes)
    return means


def bootstrap_reduction(
    base: ArrayLike,
    tuned: ArrayLike,
    clusters: Sequence[str],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap bounds of 1 - tuned/base of a paired rate, whole clusters drawn.

    Half an event is added to both counts, so that a draw in which base has none is no division by zero.
    """
    x, y = paired(base, tuned)
    base_sums, tuned_sums = _cluster_sums(x, clusters)[0], _cluster_sums(y, clusters)[0]
    # The same seed draws the same clusters for both.
    events = [_drawn_sums(sums, draws, seed) + 0.5 for sums in (base_sums, tuned_sums)]
    low, high = np.quantile(1 - events[1] / events[0], _tails(confidence))
    return float(low), float(high)


def bootstrap_p_value(
    differences: ArrayLike, clusters: Sequence[str], *, draws: int = 10_000, seed: int = 0
) -> float:
    """Two-sided bootstrap p-value that the mean difference is zero: twice the smaller tail beyond 0.

    Identical systems give 1; never 0, since one more draw could always lie beyond, and never less than
    so few clusters can show (`smallest_p_value`).
    Source: Davison and Hinkley 1997, 4.4 (the +1 counts the observed sample).
    """
    return _two_sided(_drawn_means(*_cluster_sums(differences, clusters), draws, seed), clusters)


def _two_sided(drawn: Floats, clusters: Sequence[str]) -> float:
    beyond = min(int(np.sum(drawn <= 0)), int(np.sum(drawn >= 0)))
    return max(min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)), smallest_p_value(clusters))


def smallest_p_value(clusters: Sequence[str]) -> float:
    """The least two-sided p-value that k independent clusters can give: 2 / 2^k.

    That of a sign-flip test when all differ one way. A bootstrap of so few never says so: drawn from
    two clusters that agree, its interval has no width.
    """
    return min(1.0, 2.0 ** (1 - len(set(clusters))))


def fewest_clusters(confidence: float) -> int:
    """The least number of clusters that could show any difference at this confidence: 6 at 95%."""
    clusters: list[str] = ["0"]
    while not enough_clusters(clusters, confidence):
        clusters.append(str(len(clusters)))
    return len(clusters)


def _cluster_sums(values: ArrayLike, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and size of each cluster, in the clusters' alphabetical order."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0 or numbers.size != len(clusters):
        raise ValueError(f"need as many values as clusters, at least one: {numbers.size}, {len(clusters)}")
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums: Floats = np.bincount(index, weights=numbers).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def _drawn_means(sums: Floats, sizes: Floats, draws: int, seed: int) -> Floats:
    alike = bool((sizes == sizes[0]).all())  # then every draw has as many prompts, and need not be made twice
    drawn: Floats = sizes.sum() if alike else _drawn_sums(sizes, draws, seed)
    return _drawn_sums(sums, draws, seed) / drawn


def _drawn_sums(values: Floats, draws: int, seed: int) -> Floats:
    """Sums over clusters drawn with replacement, one a draw; the same seed draws the same clusters."""
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - start)
        drawn = generator.integers(0, len(values), size=(count, len(values)))
        parts.append(values[drawn].sum(axis=1))
    return np.concatenate(parts)


def median_interval(
    values: ArrayLike, *, draws: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of a median."""
    numbers = np.asarray(values, dtype=np.float64)
    medians = np.median(numbers[_drawn_indices(len(numbers), draws, seed)], axis=1)
    low, high = np.quantile(medians, _tails(confidence))
    return Interval(
        float(np.median(numbers)), float(low), float(high), f"bootstrap of the median, {draws:,} draws"
    )


def ratio_of_medians(
    base: ArrayLike, tuned: ArrayLike, *, draws: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Median(base) / median(tuned) of paired positive times: above 1, tuned is faster.

    Percentile bootstrap over pairs on the logarithm, so that swapping the systems gives the inverse.
    """
    x, y = _times(base, tuned)
    drawn_x, drawn_y = _drawn_medians(x, y, draws, seed)
    low, high = np.exp(np.quantile(np.log(drawn_x) - np.log(drawn_y), _tails(confidence)))
    method = f"paired bootstrap of the log ratio of medians, {draws:,} draws"
    return Interval(float(np.median(x) / np.median(y)), float(low), float(high), method)


def difference_of_medians(
    base: ArrayLike, tuned: ArrayLike, *, draws: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> tuple[Interval, float]:
    """Median(tuned) - median(base) of paired positive times, and its two-sided p-value.

    From the draws of `ratio_of_medians` with the same seed: in each the difference is below 0 exactly
    where the ratio is above 1, so the two intervals and the p-value say the same.
    """
    x, y = _times(base, tuned)
    drawn_x, drawn_y = _drawn_medians(x, y, draws, seed)
    gap, gaps = float(np.median(y) - np.median(x)), drawn_y - drawn_x
    turned = points_down(gap, *gaps)
    low, high = np.quantile(-gaps if turned else gaps, _tails(confidence))
    method = f"paired bootstrap of the difference of medians, {draws:,} draws"
    found = Interval(-gap if turned else gap, float(low), float(high), method)
    p_value = _two_sided(gaps, [str(place) for place in range(len(x))])
    return found.mirrored if turned else found, p_value


def enough_clusters(clusters: Sequence[str], confidence: float) -> bool:
    """Whether so many clusters could show any difference at this confidence: 6 at 95%."""
    return smallest_p_value(clusters) <= 1 - confidence


def _times(base: ArrayLike, tuned: ArrayLike) -> tuple[Floats, Floats]:
    x, y = paired(base, tuned)
    if np.any(x <= 0) or np.any(y <= 0):
        raise ValueError("times must be positive")
    return x, y


def _drawn_medians(x: Floats, y: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Medians of both over the same pairs, drawn with replacement."""
    drawn = _drawn_indices(len(x), draws, seed)
    medians: tuple[Floats, Floats] = np.median(x[drawn], axis=1), np.median(y[drawn], axis=1)
    return medians


def _drawn_indices(n: int, draws: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, size=(draws, n))


def _tails(confidence: float) -> list[float]:
    return [(1 - confidence) / 2, (1 + confidence) / 2]
