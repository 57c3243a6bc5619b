"""Intervals and tests of rates, and the verdict, for base against tuned on the same prompts.

Every function states its formula, its source and what happens at the edges. `base` and `tuned` are
always paired: index i is the same prompt. Differences are tuned minus base. Needs numpy only.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outcome = Literal["improved", "worse", "not shown"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval, and how it was made."""

    estimate: float
    low: float
    high: float
    method: str

    @property
    def mirrored(self) -> "Interval":
        """The interval of the negative: of base minus tuned, where this is of tuned minus base."""
        return Interval(0.0 - self.estimate, 0.0 - self.high, 0.0 - self.low, self.method)  # 0 stays +0


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
    x, y = paired(base, tuned)
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


def wilson(events: float, n: float, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of one proportion; `events` may be a sum of shares.

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


def upper_bound_of_none(n: int, confidence: float = 0.95) -> float:
    """How large a rate may still be after n independent prompts without an event, one-sided.

    1 - (1 - confidence)^(1/n), about 3/n at 95%: exact, from the binomial distribution (Clopper and
    Pearson, Biometrika 1934, 26:404; Hanley and Lippman-Hand, JAMA 1983, 249:1743).

    Raises:
        ValueError: n is not positive.
    """
    if n <= 0:
        raise ValueError(f"need n > 0, found n={n}")
    return float(1 - (1 - confidence) ** (1 / n))


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
    return _method_10((table.both, table.only_base, table.only_tuned, table.neither), confidence)


def newcombe_of_shares(base: ArrayLike, tuned: ArrayLike, confidence: float = 0.95) -> Interval:
    """`newcombe` where both systems say yes to a prompt with a probability each, apart from one another.

    The cells are those that are to be expected. As the probabilities vary less than yes and no would, the
    interval is too wide rather than too narrow.

    Args:
        base, tuned: shares from 0 to 1 of the same prompts.
    """
    x, y = paired(base, tuned)
    # In whole 2^-30ths sums are exact, so that swapped systems mirror to the last digit.
    both, only_base, only_tuned = (
        float(np.rint(cell.sum() * 2.0**30) / 2.0**30) for cell in (x * y, x * (1 - y), y * (1 - x))
    )
    neither = max(0.0, len(x) - (both + only_base + only_tuned))
    return _method_10((both, only_base, only_tuned, neither), confidence)


def _method_10(cells: tuple[float, float, float, float], confidence: float) -> Interval:
    both, only_base, only_tuned, neither = cells
    n = both + only_base + only_tuned + neither
    base = wilson(both + only_base, n, confidence)
    tuned = wilson(both + only_tuned, n, confidence)
    phi = _corrected_phi(cells)
    down, up = tuned.estimate - tuned.low, tuned.high - tuned.estimate
    base_down, base_up = base.estimate - base.low, base.high - base.estimate
    estimate = (only_tuned - only_base) / n
    # Grouped so that swapped systems round alike: their interval is this one mirrored, to the last digit.
    below = math.sqrt(max(0.0, (down**2 + base_up**2) - 2 * phi * (down * base_up)))
    above = math.sqrt(max(0.0, (up**2 + base_down**2) - 2 * phi * (up * base_down)))
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above), "Newcombe 10")


def _corrected_phi(cells: tuple[float, float, float, float]) -> float:
    a, b, c, d = cells
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    cross = float(a * d - b * c)
    if cross > 0:
        cross = max(cross - sum(cells) / 2, 0.0)
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


def outcome(low: float, high: float, p_value: float, *, confidence: float, higher_is_better: bool) -> Outcome:
    """The verdict from the interval of tuned minus base and from its p-value.

    Shown only if the interval leaves out zero *and* p is below 1 - confidence: Newcombe's interval and
    McNemar's test are no inverses of each other, and near the border one may say what the other denies.
    """
    if low <= 0 <= high or 1 - p_value <= confidence:  # 1 - 0.95 rounds to more than 0.05
        return "not shown"
    return "improved" if (low > 0) == higher_is_better else "worse"


def points_down(*values: float) -> bool:
    """Whether the first of the values that is not zero is negative; false where there is none.

    Rounding in quantiles is not symmetric. So an interval of a difference is worked out on the side where
    this is false, and mirrored where it is true: swapped systems then mirror to the last digit.
    """
    return next((value for value in values if value != 0), 0.0) < 0


def paired(base: ArrayLike, tuned: ArrayLike) -> tuple[Floats, Floats]:
    """Both sequences as arrays of one length.

    Raises:
        ValueError: they are empty, or not of one length.
    """
    x, y = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size == 0:
        raise ValueError(f"need two sequences of one length, at least one pair: {x.shape} and {y.shape}")
    return x, y
