"""How often a model is wrong where it answers only what it is most sure of: the area under that curve."""

from collections.abc import Sequence

import numpy as np

from kit.evaluate.calibration import accuracy_by_coverage, risk_by_coverage
from kit.evaluate.confidence_metric import ConfidenceMetric


class RiskCoverage(ConfidenceMetric):
    """The area over all answers; an item is the risk where so many are given, the surest first."""

    label = "Risk by coverage (area)"
    formula = "mean over k of the share of wrong answers among the k most confident"

    def figure(self, sure: Sequence[float], right: Sequence[int]) -> float:
        """The area under the curve of risk by coverage."""
        return float(risk_by_coverage(sure, right)(np.ones(len(sure))))

    def each(self, sure: Sequence[float], right: Sequence[int]) -> list[float]:
        """The risk where k answers are given, for k from 1 to all."""
        return [float(1 - share) for share in accuracy_by_coverage(sure, right)]
