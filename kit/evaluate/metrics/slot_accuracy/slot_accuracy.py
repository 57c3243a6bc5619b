"""Share of answers that repeat every name and number they must, exactly."""

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import normalise, phrase_pattern


class SlotAccuracy(ItemMetric):
    """1 if each of the reference's `slots` stands in the answer as a whole, in any case."""

    label = "Names and numbers right"
    about = "service"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers with every slot value in them / answers to requests with slots"

    def applies(self, reference: Reference) -> bool:
        """Whether the row names slots."""
        return bool(_values(reference))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the values that are missing."""
        text = normalise(prediction)
        slots = _values(reference)
        missing = [value for value in slots if not phrase_pattern(value, whole=True).search(text)]
        # The values differ from prompt to prompt: counted one by one they would say nothing.
        return float(not missing), [f"{len(missing)} of {len(slots)} wrong or missing"] if missing else []


def _values(reference: Reference) -> list[str]:
    """The row's slots, of which one may stand alone; blank ones ask for nothing."""
    slots = reference.get("slots") or []
    listed = slots if isinstance(slots, list) else [slots]
    return [str(value) for value in listed if value is not None and str(value).strip()]
