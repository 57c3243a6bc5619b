"""What so many prompts could show: computed before the first answer is made."""

import math
from statistics import NormalDist

from kit.evaluate.statistics import normal_quantile

PLANNED_DISCORDANCE = 0.2
"""The share of prompts on which base and tuned are taken to disagree, where nothing is known yet."""


def minimum_detectable_effect(
    n: int, discordance: float = PLANNED_DISCORDANCE, confidence: float = 0.95, power: float = 0.8
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
