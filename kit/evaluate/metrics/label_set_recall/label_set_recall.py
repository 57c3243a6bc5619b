"""Micro-recall of sets of labels named in free answers."""

from kit.evaluate.label_set_metric import LabelSetMetric, share
from kit.evaluate.statistics import Floats


class LabelSetRecall(LabelSetMetric):
    """right / expected over all answers, of the labels that any row expects."""

    label = "Expected labels named (micro-recall)"
    formula = "labels named and expected / labels expected, added up over all prompts"

    def statistic_of_all(self, sums: Floats) -> Floats:
        """Micro-recall of each row of sums; 0 where nothing was expected."""
        return share(sums[..., 0], sums[..., 2])
