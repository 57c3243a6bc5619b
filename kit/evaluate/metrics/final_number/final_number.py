"""Share of answers whose last figure is the reference's last figure."""

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.numbers import Quantity, quantities


class FinalNumber(ItemMetric):
    """1 if an answer ends in the right result, whatever the way to it."""

    label = "Result right (last figure)"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers whose last figure is that of the reference / references with a figure"

    def applies(self, reference: Reference) -> bool:
        """Whether the reference `answer` holds a figure."""
        return bool(_figures(reference["answer"], reference))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with whether there was another figure or none."""
        found, wanted = _figures(prediction, reference), _figures(reference["answer"], reference)
        if not found:
            return 0.0, ["no figure"]
        last, right = found[-1], wanted[-1]
        same = last.stated == right.stated or (last.unit == right.unit and last.value == right.value)
        return float(same), [] if same else ["another result"]


def _figures(text: object, reference: Reference) -> list[Quantity]:
    return quantities(str(text), str(reference.get("language") or ""))
