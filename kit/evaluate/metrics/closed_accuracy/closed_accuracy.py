"""Share of closed questions that get the right label: yes, no or maybe, or a department."""

from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.label_metric import LabelMetric


class ClosedAccuracy(LabelMetric):
    """1 if the label that the answer gives is the row's `label`."""

    label = "Closed questions right"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers that give the expected label / rows with a label"

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the label given and the one expected."""
        return self.judge_label(prediction, reference)
