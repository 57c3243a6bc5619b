"""ROUGE-L: the longest sequence of words that answer and reference share, in order."""

from kit.data.words import words
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.subsequence import longest_common_subsequence
from kit.evaluate.text import bare


class RougeL(ItemMetric):
    """F1 of the longest common subsequence of words, no stemming."""

    label = "Word order shared with the reference (ROUGE-L)"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    formula = "2·LCS / (words of the answer + words of the reference); mean over prompts"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer` with words in it."""
        return bool(words(bare(str(reference.get("answer") or ""))))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The F1 in [0, 1]."""
        found, wanted = words(bare(prediction)), words(bare(str(reference["answer"])))
        return 2 * longest_common_subsequence(found, wanted) / (len(found) + len(wanted)), []
