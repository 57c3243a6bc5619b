"""Times of answers as percentiles, each shown only where enough was measured to see so far out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TAILS = (95, 99)
_CERTAINTY = 0.95


def least_n(percentile: int) -> int:
    """The least number of measurements that a percentile takes: 59 for the 95th, 299 for the 99th.

    With so many, the slowest one lies beyond the true percentile p in 95 of 100 samples, n >= log(0.05) /
    log(p); with fewer, what is called p may well be far below it (Wilks, Ann. Math. Statist. 1941, 12:91).
    """
    return math.ceil(math.log(1 - _CERTAINTY) / math.log(percentile / 100))


NEEDED = {f"p{percentile}": least_n(percentile) for percentile in TAILS}
"""How many measurements each percentile of the tail takes."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, 95th and 99th percentile and the largest; None for a percentile that takes more values.

    Percentiles interpolate linearly between the two nearest values, as numpy does by default.
    """
    if not values:
        return {"p50": None, **dict.fromkeys(NEEDED), "max": None}
    numbers = np.asarray(values, dtype=np.float64)
    tails = {
        f"p{percentile}": float(np.percentile(numbers, percentile))
        if len(numbers) >= least_n(percentile)
        else None
        for percentile in TAILS
    }
    return {"p50": float(np.median(numbers)), **tails, "max": float(numbers.max())}


def seconds_per_output_token(record: Mapping[str, float]) -> float | None:
    """TPOT of one answer, (E2E - TTFT) / (N_out - 1): the pace after the first token.

    Args:
        record: `seconds`, `seconds_to_first_token` and `new_tokens`, counted in the token stream.

    None for an answer of one token, which has no pace.
    """
    if record["new_tokens"] < 2:
        return None
    return (record["seconds"] - record["seconds_to_first_token"]) / (record["new_tokens"] - 1)
