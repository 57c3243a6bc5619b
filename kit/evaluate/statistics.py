"""Intervals, tests and verdicts for base against tuned on the same prompts.

Every function states its formula, its source and what happens at the edges. `base` and `tuned` are
always paired: index i is the same prompt. Differences are tuned minus base. Needs numpy only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outcome = Literal["improved", "worse", "not shown"]
Floats = NDArray[np.float64]

_DRAWS_AT_ONCE = 1_000  # bounds the memory of a bootstrap to this many draws times the clusters


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval, and how it was made."""

    estimate: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Reduction:
    """1 - tuned/base of a rate where lower is better; `at_least` when tuned had no event at all."""

    estimate: float
    low: float
    high: float
    at_least: bool
    method: str


@dataclass(frozen=True)
class PairedTable:
    """The four cells of two paired yes/no outcomes."""

    both: int
    only_base: int
    only_tuned: int
    neither: int

    @property
    def n(self) -> int:
        """The number of pairs."""
        return self.both + self.only_base + self.only_tuned + self.neither


def paired_table(base: ArrayLike, tuned: ArrayLike) -> PairedTable:
    """Count the cells of two paired 0/1 sequences of the same length."""
    x, y = _pair(base, tuned)
    yes_base, yes_tuned = x > 0.5, y > 0.5
    return PairedTable(
        both=int(np.sum(yes_base & yes_tuned)),
        only_base=int(np.sum(yes_base & ~yes_tuned)),
        only_tuned=int(np.sum(~yes_base & yes_tuned)),
        neither=int(np.sum(~yes_base & ~yes_tuned)),
    )


def normal_quantile(confidence: float) -> float:
    """The two-sided standard normal quantile: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(events: int, n: int, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of one proportion.

    (p + z²/2n ± z·sqrt(p·q/n + z²/4n²)) / (1 + z²/n); stays inside [0, 1] and has a width at 0 and n.
    Source: Wilson, JASA 1927, 22:209; recommended by Brown, Cai and DasGupta, Stat. Sci. 2001, 16:101.

    Raises:
        ValueError: n is not positive, or `events` is not between 0 and n.
    """
    if n <= 0 or not 0 <= events <= n:
        raise ValueError(f"need 0 <= events <= n and n > 0, found events={events}, n={n}")
    z = normal_quantile(confidence)
    share = events / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if events == 0 else (centre - half) / scale
    high = 1.0 if events == n else (centre + half) / scale
    return Interval(share, low, high, "Wilson")


def mcnemar(only_base: int, only_tuned: int) -> float:
    """McNemar's mid-p test of two paired proportions, from the pairs in which the systems disagree.

    The two-sided p-value. With N pairs in disagreement, k the smaller count and X ~ Binomial(N, 1/2) it
    is 2·P(X <= k) - P(X = k), and 1 - P(X = k) where both counts are equal. N = 0 says nothing, so
    p = 1. Source: Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 2013, 13:91, who recommend
    mid-p and advise against the exact and the continuity-corrected test.
    """
    disagreements = only_base + only_tuned
    if disagreements == 0:
        return 1.0
    fewer = min(only_base, only_tuned)
    # Integers are exact at any size; Python divides them without overflow.
    total = 1 << disagreements
    up_to = sum(math.comb(disagreements, count) for count in range(fewer + 1))
    at = math.comb(disagreements, fewer)
    return (total - at) / total if only_base == only_tuned else (2 * up_to - at) / total


def newcombe(table: PairedTable, confidence: float = 0.95) -> Interval:
    """Newcombe's method 10 for the difference of two paired proportions, tuned minus base.

    Combines the two Wilson intervals with the correlation phi of the pairs, whose numerator is
    corrected for continuity. Source: Newcombe, Statist. Med. 1998, 17:2635, method 10.
    """
    n = table.n
    base = wilson(table.both + table.only_base, n, confidence)
    tuned = wilson(table.both + table.only_tuned, n, confidence)
    phi = _corrected_phi(table)
    down, up = tuned.estimate - tuned.low, tuned.high - tuned.estimate
    base_down, base_up = base.estimate - base.low, base.high - base.estimate
    estimate = (table.only_tuned - table.only_base) / n
    below = math.sqrt(max(0.0, down**2 - 2 * phi * down * base_up + base_up**2))
    above = math.sqrt(max(0.0, up**2 - 2 * phi * up * base_down + base_down**2))
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above), "Newcombe 10")


def _corrected_phi(table: PairedTable) -> float:
    a, b, c, d = table.both, table.only_base, table.only_tuned, table.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    cross = float(a * d - b * c)
    if cross > 0:
        cross = max(cross - table.n / 2, 0.0)
    return cross / math.sqrt(margins)


def reduction(table: PairedTable, confidence: float = 0.95) -> Reduction | None:
    """1 - RR of a paired rate, with RR = x_tuned/x_base and a log-normal interval.

    SE² of log RR is (b + c) / (x_tuned·x_base), with b and c the pairs that disagree. Source: Bonett
    and Price, Statist. Med. 2006, 25:3039 (its Wald form). Two edges have no such interval:

    - No tuned event: `at_least` is true and the low end is that of MOVER-R (Donner and Zou, Stat.
      Methods Med. Res. 2012, 21:347), 1 - u / sqrt(l·(2p - l)), with u the upper Wilson bound of tuned,
      p the base's share and l its lower Wilson bound: what is not known of base counts too.
    - No pair disagrees: Wilson's upper bound of no disagreement, as a number of pairs, is taken to have
      been missed by one system, then by the other.

    None where base had no event: nothing could be reduced.
    """
    x_base, x_tuned = table.both + table.only_base, table.both + table.only_tuned
    if x_base == 0:
        return None
    unseen = wilson(0, table.n, confidence).high
    if x_tuned == 0:
        base = wilson(x_base, table.n, confidence)
        least = math.sqrt(base.low * (2 * base.estimate - base.low))
        return Reduction(1.0, 1.0 - unseen / least, 1.0, True, "MOVER-R of Wilson intervals")
    disagreements = table.only_base + table.only_tuned
    if disagreements == 0:
        missed = unseen * table.n
        low, high = -missed / x_base, missed / (x_base + missed)
        return Reduction(0.0, low, high, False, "Wilson upper bound of the disagreement")
    ratio = x_tuned / x_base
    factor = math.exp(normal_quantile(confidence) * math.sqrt(disagreements / (x_tuned * x_base)))
    return Reduction(1.0 - ratio, 1.0 - ratio * factor, 1.0 - ratio / factor, False, "log interval")


def minimum_detectable_effect(
    n: int, discordance: float = 0.2, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The smallest paired difference of rates that n prompts would show with the given power.

    Solves d = (z_a·sqrt(D) + z_b·sqrt(D - d²)) / sqrt(n) for d, with D the share of pairs that
    disagree (planned as 20% unless measured). Source: Connor, Biometrics 1987, 43:207.
    Never more than D, the largest difference that D allows.
    """
    if n <= 0 or not 0 < discordance <= 1:
        raise ValueError(f"need n > 0 and 0 < discordance <= 1, found n={n}, discordance={discordance}")
    z_test, z_power = normal_quantile(confidence), NormalDist().inv_cdf(power)
    low, high = 0.0, discordance
    for _ in range(60):  # bisection: the right side falls as d grows
        middle = (low + high) / 2
        needed = z_test * math.sqrt(discordance) + z_power * math.sqrt(max(0.0, discordance - middle**2))
        low, high = (middle, high) if middle < needed / math.sqrt(n) else (low, middle)
    return high


def clustered(clusters: Sequence[str]) -> bool:
    """Whether some prompts belong together, so that they are not independent."""
    return len(set(clusters)) < len(clusters)


def bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence[str],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a mean, whole clusters drawn with replacement.

    Args:
        values: one number a prompt; for a paired difference, tuned minus base.
        clusters: the group of each prompt; prompts of one group are drawn together.

    The result does not depend on the order of the prompts. Source: Davison and Hinkley 1997, 3.8.
    """
    sums, sizes = _cluster_sums(values, clusters)
    estimate = float(sums.sum() / sizes.sum())
    means = _drawn_means(sums, sizes, draws, seed)
    low, high = np.quantile(means, _tails(confidence))
    return Interval(estimate, float(low), float(high), f"percentile bootstrap, {draws:,} draws")


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
    x, y = _pair(base, tuned)
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


def _cluster_sums(values: ArrayLike, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and size of each cluster, in the clusters' alphabetical order."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0 or numbers.size != len(clusters):
        raise ValueError(f"need as many values as clusters, at least one: {numbers.size}, {len(clusters)}")
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums: Floats = np.bincount(index, weights=numbers).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def _drawn_means(sums: Floats, sizes: Floats, draws: int, seed: int) -> Floats:
    return _drawn_sums(sums, draws, seed) / _drawn_sums(sizes, draws, seed)


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
    low, high = np.quantile(drawn_y - drawn_x, _tails(confidence))
    method = f"paired bootstrap of the difference of medians, {draws:,} draws"
    found = Interval(float(np.median(y) - np.median(x)), float(low), float(high), method)
    return found, _two_sided(drawn_y - drawn_x, [str(place) for place in range(len(x))])


def enough_clusters(clusters: Sequence[str], confidence: float) -> bool:
    """Whether so many clusters could show any difference at this confidence: 6 at 95%."""
    return smallest_p_value(clusters) <= 1 - confidence


def outcome(low: float, high: float, p_value: float, *, confidence: float, higher_is_better: bool) -> Outcome:
    """The verdict from the interval of tuned minus base and from its p-value.

    Shown only if the interval leaves out zero *and* p is below 1 - confidence: Newcombe's interval and
    McNemar's test are no inverses of each other, and near the border one may say what the other denies.
    """
    if low <= 0 <= high or 1 - p_value <= confidence:  # 1 - 0.95 rounds to more than 0.05
        return "not shown"
    return "improved" if (low > 0) == higher_is_better else "worse"


def _pair(base: ArrayLike, tuned: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size == 0:
        raise ValueError(f"need two sequences of one length, at least one pair: {x.shape} and {y.shape}")
    return x, y


def _times(base: ArrayLike, tuned: ArrayLike) -> tuple[Floats, Floats]:
    x, y = _pair(base, tuned)
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
