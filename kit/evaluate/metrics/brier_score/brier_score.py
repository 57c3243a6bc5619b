"""How far confidence is from being right, answer by answer: the Brier score."""

from collections.abc import Sequence

from kit.evaluate.calibration import brier
from kit.evaluate.confidence_metric import ConfidenceMetric


class BrierScore(ConfidenceMetric):
    """The mean over all answers; an item is that of one."""

    label = "Brier score"
    formula = "mean of (confidence - correct)²"

    def figure(self, sure: Sequence[float], right: Sequence[int]) -> float:
        """The mean of the items."""
        return float(brier(sure, right).mean())

    def each(self, sure: Sequence[float], right: Sequence[int]) -> list[float]:
        """(confidence - correct)² of each answer."""
        return [float(item) for item in brier(sure, right)]
