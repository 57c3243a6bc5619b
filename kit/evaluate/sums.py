"""Intervals for figures made from sums over all prompts: macro-F1, BLEU, perplexity."""

from collections.abc import Callable, Sequence

import numpy as np

from kit.evaluate.statistics import Floats, Interval, points_down


def compare_sums(
    base: Floats,
    tuned: Floats,
    clusters: Sequence[str],
    statistic: Callable[[Floats], Floats],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Interval, Interval, Interval, float]:
    """Intervals of base, tuned and tuned minus base, and the two-sided p-value that they are equal.

    Whole clusters are drawn with replacement, the same ones for both systems; their counts are added up
    and the figure is made from the sums anew in every draw. Source: Koehn, EMNLP 2004 (paired bootstrap
    of BLEU); Davison and Hinkley 1997, 3.8 (clusters) and 4.4 (the +1 counts the observed sample).

    Args:
        base, tuned: (prompts, counts), the same prompts in the same order.
        clusters: the group of each prompt.
        statistic: (..., counts) -> (...); not necessarily a number where a draw leaves nothing to count.
    """
    weights, order = _drawn(clusters, draws, seed), np.unique(clusters, return_inverse=True)[1]
    figures, drawn = [], []
    for counts in (base, tuned):
        sums = np.zeros((weights.shape[1], counts.shape[1]))
        np.add.at(sums, order, counts)
        figures.append(float(statistic(counts.sum(axis=0))))
        drawn.append(statistic(weights @ sums))
    gaps = drawn[1] - drawn[0]
    beyond = min(int(np.sum(gaps <= 0)), int(np.sum(gaps >= 0)))
    gap = figures[1] - figures[0]
    turned = points_down(gap, *gaps)  # swapped systems mirror to the last digit
    difference = _interval(-gap, -gaps, confidence).mirrored if turned else _interval(gap, gaps, confidence)
    # So few clusters cannot show more: with all of them on one side, a sign-flip test's p is 2 / 2^k.
    p_value = min(1.0, max(2 * (beyond + 1) / (draws + 1), 2.0 ** (1 - weights.shape[1])))
    return (
        _interval(figures[0], drawn[0], confidence),
        _interval(figures[1], drawn[1], confidence),
        difference,
        p_value,
    )


def _drawn(clusters: Sequence[str], draws: int, seed: int) -> Floats:
    """How often each cluster, in alphabetical order, is in each draw: (draws, clusters)."""
    count = len(set(clusters))
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return times.astype(np.float64)


def _interval(estimate: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high), f"percentile bootstrap of sums, {len(drawn):,} draws")
