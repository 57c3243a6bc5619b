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
        if found and found[-1].value == wanted[-1].value:
            return 1.0, []
        return 0.0, ["another result" if found else "no figure"]


def _figures(text: object, reference: Reference) -> list[Quantity]:
    return quantities(str(text), str(reference.get("language") or ""))
