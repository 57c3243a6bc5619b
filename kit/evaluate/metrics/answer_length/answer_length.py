"""How far answers are from the length of their references."""

from kit.data.words import words
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference


class AnswerLength(ItemMetric):
    """1 - shorter / longer of the words of answer and reference: 0 for the same length."""

    label = "Length away from the reference's"
    about = "form"
    kind = "score"
    higher_is_better = False
    invalid_item = 1.0
    formula = "1 - words of the shorter / words of the longer, of answer and reference; mean over prompts"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer` with words in it."""
        return bool(words(str(reference.get("answer") or "")))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The distance in [0, 1], and which way where it is more than a factor of two."""
        found, wanted = len(words(prediction)), len(words(str(reference["answer"])))
        reasons = ["more than twice as long"] if found > 2 * wanted else []
        reasons += ["less than half as long"] if 2 * found < wanted else []
        return 1 - min(found, wanted) / max(found, wanted), reasons
