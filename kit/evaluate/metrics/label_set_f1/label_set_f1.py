"""Micro-F1 of sets of labels named in free answers: diagnoses, departments, topics."""

from kit.evaluate.label_set_metric import LabelSetMetric, f1
from kit.evaluate.statistics import Floats


class LabelSetF1(LabelSetMetric):
    """2·right / (named + expected) over all answers, of the labels that any row expects."""

    label = "Sets of labels right (micro-F1)"
    formula = "2·right / (labels named + labels expected), added up over all prompts"

    def statistic_of_all(self, sums: Floats) -> Floats:
        """Micro-F1 of each row of sums; 0 where nothing was named or expected."""
        return f1(sums)
