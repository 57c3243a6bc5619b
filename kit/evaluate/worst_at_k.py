"""The expected worst of k answers to a prompt: how dependable a model is, not how good on average.

Of n answers that were drawn to a prompt, any k are as likely to be those that a user meets. The mean of the
worst score over all such choices is the expected worst of k, without bias for any k up to n.
Source: worst-at-k of HealthBench (OpenAI 2025, arXiv:2505.08775); the sum over the ordered scores is that of
pass@k (Chen et al. 2021, arXiv:2107.03374), of which it is the mirror image where scores are 0 and 1.
"""

from math import comb

import numpy as np
from numpy.typing import ArrayLike

from kit.evaluate.statistics import Floats


def expected_worst(scores: ArrayLike, higher_is_better: bool = True) -> Floats:
    """The expected worst of k answers, drawn without replacement, for every k.

    With the scores of a prompt in order, s_1 the worst, the i-th is the worst of those k of which the other
    k - 1 are among the n - i behind it: sum of s_i · C(n - i, k - 1) / C(n, k). k = 1 gives their mean, k = n
    the worst of all.

    Args:
        scores: of n answers to each prompt, [prompts, n].
        higher_is_better: the worst is the least; else the greatest.

    Returns:
        [prompts, n]: the column k - 1 holds the expected worst of k.

    Raises:
        ValueError: it is no table of one answer a prompt or more.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"need scores as [prompts, answers], one answer or more, found {table.shape}")
    n, sign = table.shape[1], 1.0 if higher_is_better else -1.0
    # Whole numbers of Python: they are exact for any n, and only their ratio is rounded.
    shares = [[comb(n - i, k - 1) / comb(n, k) for k in range(1, n + 1)] for i in range(1, n + 1)]
    worst: Floats = sign * (np.sort(sign * table, axis=1) @ np.array(shares))
    return worst + 0.0  # 0 stays +0
