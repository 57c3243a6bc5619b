"""Many tests at once: Holm for gates, which decide, and Benjamini–Hochberg for slices, which explore."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: below 5%, the chance of even one false finding is below 5%.

    The i-th smallest of m is multiplied by m - i + 1, and none is less than a smaller one's. Holds whatever
    the tests have to do with each other. Source: Holm, Scand. J. Statist. 1979, 6:65.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, so_far = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """q-values, in the order given: of the findings with q below 5%, about 5% at most are false.

    The i-th smallest of m is multiplied by m / i, and none is more than a larger one's. Holds for tests
    that are independent or rise and fall together. Source: Benjamini and Hochberg, J. R. Statist. Soc. B
    1995, 57:289.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    adjusted, so_far = [1.0] * len(p_values), 1.0
    for passed, place in enumerate(order):
        rank = len(p_values) - passed
        so_far = min(so_far, len(p_values) / rank * p_values[place])
        adjusted[place] = so_far
    return adjusted
