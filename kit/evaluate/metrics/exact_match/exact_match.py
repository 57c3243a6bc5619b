"""Share of answers that equal the reference answer."""

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import bare


class ExactMatch(ItemMetric):
    """1 if answer and reference are equal after Unicode NFKC, case folding and without punctuation."""

    label = "Exact match"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers equal to the reference after normalisation / answers with a reference"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer`."""
        return bool(bare(str(reference.get("answer") or "")))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with a note."""
        equal = bare(prediction) == bare(str(reference["answer"]))
        return float(equal), [] if equal else ["differs from the reference"]
