"""What so many prompts could show: computed before the first answer is made."""

import math
from statistics import NormalDist

from kit.evaluate.statistics import normal_quantile

POWER = 0.8
"""How often a difference as large as the smallest detectable one is shown: four times in five."""

PLANNED_DISCORDANCE = 0.2
"""The share of prompts on which base and tuned are taken to disagree, where nothing is known yet."""


def minimum_detectable_effect(
    n: int, discordance: float = PLANNED_DISCORDANCE, confidence: float = 0.95, power: float = POWER
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


def detectable_deviations(n: int, confidence: float = 0.95, power: float = POWER) -> float:
    """The smallest mean paired difference of scores that n prompts would show, in standard deviations of it.

    (z_a + z_b) / sqrt(n), for n large enough that the mean is nearly normal.
    """
    return (normal_quantile(confidence) + NormalDist().inv_cdf(power)) / math.sqrt(n)


def groups_for_no_loss(
    margin: float, discordance: float = PLANNED_DISCORDANCE, confidence: float = 0.95, power: float = POWER
) -> int:
    """How many prompts it takes to rule out a loss of a rate by the margin, where there is no difference.

    D·((z_a + z_b) / margin)², with D the share of pairs that disagree, from the normal approximation to
    the lower bound of the paired difference.
    """
    both = normal_quantile(confidence) + NormalDist().inv_cdf(power)
    return math.ceil(discordance * (both / margin) ** 2)
