"""Micro-precision of sets of labels named in free answers."""

from kit.evaluate.label_set_metric import LabelSetMetric, share
from kit.evaluate.statistics import Floats


class LabelSetPrecision(LabelSetMetric):
    """right / named over all answers, of the labels that any row expects."""

    label = "Labels named that are right (micro-precision)"
    formula = "labels named and expected / labels named, added up over all prompts"

    def statistic_of_all(self, sums: Floats) -> Floats:
        """Micro-precision of each row of sums; 0 where nothing was named."""
        return share(sums[..., 0], sums[..., 1])
