"""How much of an answer says again what it has said before."""

from kit.data.words import repetition
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference


class Repetition(ItemMetric):
    """The share of word 4-grams that repeat an earlier one of the same answer."""

    label = "Repetition within answers"
    about = "form"
    kind = "score"
    higher_is_better = False
    invalid_item = 1.0
    formula = "word 4-grams that repeat an earlier one / word 4-grams of the answer; mean over prompts"

    def applies(self, reference: Reference) -> bool:
        """Always: it needs no reference."""
        return True

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The share in [0, 1]."""
        return repetition(prediction), []
