"""Macro-F1 of sets of labels named in free answers: rare labels weigh as much as common ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kit.evaluate.item_metric import Reference
from kit.evaluate.label_set_metric import LabelSetMetric, counts_of, f1
from kit.evaluate.statistics import Floats


class LabelSetMacroF1(LabelSetMetric):
    """The mean over labels of 2·right / (named + expected); a label that is neither does not count."""

    label = "Sets of labels right (macro-F1)"
    formula = "mean over labels of 2·right / (times named + times expected)"

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take the labels of all rows, and those of `labels`, in one order."""
        super().prepare(references, **params)
        self.counted = sorted(set(self.names.values()))

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """For each label: named and expected, named, expected; each 0 or 1."""
        named, expected = self.named_and_expected(prediction, reference)
        return [count for label in self.counted for count in counts_of(named & {label}, expected & {label})]

    def statistic(self, sums: Floats) -> Floats:
        """Macro-F1 of each row of sums."""
        by_label = sums.reshape(*sums.shape[:-1], -1, 3)
        there = by_label[..., 1] + by_label[..., 2] > 0
        mean: Floats = f1(by_label).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
        return mean

    def statistic_of_all(self, sums: Floats) -> Floats:
        """Of one answer: its own F1, which no label outweighs."""
        return f1(sums)
