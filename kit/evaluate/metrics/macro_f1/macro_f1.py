"""F1 of every label of closed questions, averaged, so that rare labels weigh as much as common ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.label_metric import LabelMetric, label_of
from kit.evaluate.labels import given_label
from kit.evaluate.statistics import Floats


class MacroF1(LabelMetric, CorpusMetric):
    """The mean over labels of 2·TP / (given + expected); a label that is neither does not count."""

    label = "Closed questions, macro-F1"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    formula = "mean over labels of 2·right / (times given + times expected)"

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take the labels; an expected one that is not among them counts too, as one never given."""
        super().prepare(references, **params)
        known = {label.casefold() for label in self.labels}
        others = {label_of(row) for row in references} - {""}
        self.counted = [*self.labels, *sorted(label for label in others if label.casefold() not in known)]

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the label given and the one expected."""
        return self.judge_label(prediction, reference)

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """For each label: given and expected, given, expected; each 0 or 1."""
        found, wanted = given_label(prediction, self.labels) or "", label_of(reference)
        counts = []
        for label in self.counted:
            given, expected = (name.casefold() == label.casefold() for name in (found, wanted))
            counts += [float(given and expected), float(given), float(expected)]
        return counts

    def statistic(self, sums: Floats) -> Floats:
        """Macro-F1 of each row of sums."""
        right, given, expected = (sums[..., place::3] for place in range(3))
        there = given + expected
        scores = np.divide(2 * right, there, out=np.zeros_like(right), where=there > 0)
        mean: Floats = scores.sum(axis=-1) / np.maximum(np.sum(there > 0, axis=-1), 1)
        return mean
