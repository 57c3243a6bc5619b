"""Whether a model knows when it is wrong: calibration error, Brier score, and risk by coverage.

Confidence is a number from 0 to 1 an answer, correctness 0 or 1. Needs numpy only.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kit.evaluate.statistics import Floats

BINS = 15
COVERAGES = (0.5, 0.8, 1.0)
"""Shares of the answers, the most confident ones, that accuracy is told for."""

Figure = Callable[[Floats], Floats]
"""The figure of answers with weights: (..., n) -> (...). Weights of 1 are the answers as they are."""


def equal_mass_bins(confidence: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of every answer: as many answers in each, by confidence; fewer bins where answers are fewer.

    Where n is no multiple of the bins, the lower ones have one more. Source: Nixon et al., CVPR workshops
    2019 (adaptive calibration error), arXiv:1904.01685.
    """
    order = np.argsort(np.asarray(confidence, dtype=np.float64), kind="stable")
    found = np.empty(len(order), dtype=np.int64)
    for number, places in enumerate(np.array_split(order, min(bins, len(order)))):
        found[places] = number
    return found


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> Figure:
    """ECE = Σ_m |B_m| / n · |accuracy(B_m) - confidence(B_m)| over bins of equal mass.

    Weighted draws keep the bins that the answers have. Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    places = equal_mass_bins(sure, bins)
    gaps = np.zeros((len(sure), places.max() + 1))
    gaps[np.arange(len(sure)), places] = right - sure

    def figure(weights: Floats) -> Floats:
        error: Floats = np.abs(weights @ gaps).sum(axis=-1) / weights.sum(axis=-1)
        return error

    return figure


def brier(confidence: ArrayLike, correct: ArrayLike) -> Floats:
    """(confidence - correct)² of every answer. Source: Brier, Monthly Weather Review 1950, 78:1."""
    return (np.asarray(confidence, dtype=np.float64) - np.asarray(correct, dtype=np.float64)) ** 2


def risk_by_coverage(confidence: ArrayLike, correct: ArrayLike) -> Figure:
    """AURC: the share of wrong answers among the k most confident ones, averaged over k = 1…n.

    Answers of the same confidence cannot be told apart, so each counts as wrong as they are on average.
    Source: Geifman, Uziel and El-Yaniv, ICLR 2019, arXiv:1805.08206.
    """
    order, wrong = _by_confidence(confidence, correct)

    def figure(weights: Floats) -> Floats:
        drawn = weights[..., order]
        reached = np.cumsum(drawn, axis=-1)
        risk = np.cumsum(drawn * wrong, axis=-1) / np.maximum(reached, 1)
        area: Floats = (drawn * risk).sum(axis=-1) / drawn.sum(axis=-1)
        return area

    return figure


def accuracy_by_coverage(confidence: ArrayLike, correct: ArrayLike) -> Floats:
    """The share of right answers among the k most confident ones, for k = 1…n."""
    _, wrong = _by_confidence(confidence, correct)
    accuracy: Floats = 1 - np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return accuracy


def _by_confidence(confidence: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """The answers' order, most confident first, and how wrong each is: the mean of those as confident."""
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    _, ties = np.unique(sure, return_inverse=True)
    wrong = 1 - np.bincount(ties, weights=right) / np.bincount(ties)
    order = np.argsort(-sure, kind="stable")
    return order, wrong[ties][order]
