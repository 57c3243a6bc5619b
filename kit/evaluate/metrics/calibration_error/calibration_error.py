"""How far confidence is from accuracy: the expected calibration error over bins of equal mass."""

from collections.abc import Sequence

import numpy as np

from kit.evaluate.calibration import calibration_error
from kit.evaluate.confidence_metric import ConfidenceMetric


class CalibrationError(ConfidenceMetric):
    """The error over all answers; an item is one answer's |correct - confidence|."""

    label = "Calibration error"
    formula = "sum over 15 equal-mass bins of share of answers x |accuracy - mean confidence|"

    def figure(self, sure: Sequence[float], right: Sequence[int]) -> float:
        """The error over bins of equal mass."""
        return float(calibration_error(sure, right)(np.ones(len(sure))))

    def each(self, sure: Sequence[float], right: Sequence[int]) -> list[float]:
        """|correct - confidence| of each answer."""
        return [abs(one - other) for one, other in zip(sure, right, strict=True)]
