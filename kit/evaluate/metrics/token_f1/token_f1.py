"""Overlap of words between answer and reference answer."""

from collections import Counter

from kit.data.words import words
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import bare


class TokenF1(ItemMetric):
    """F1 of the words of answer and reference, as bags (SQuAD's definition, no stop words removed)."""

    label = "Word overlap with the reference (F1)"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    formula = "2PR / (P + R) with P, R the shares of shared words in answer and reference; mean over prompts"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer` with words in it."""
        return bool(words(bare(str(reference.get("answer") or ""))))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The F1 in [0, 1]; the reason lists nothing, since there is no single one."""
        found = Counter(words(bare(prediction)))
        wanted = Counter(words(bare(str(reference["answer"]))))
        shared = (found & wanted).total()
        return 2 * shared / (found.total() + wanted.total()), []
