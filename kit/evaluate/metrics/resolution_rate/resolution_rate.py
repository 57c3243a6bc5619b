"""Share of service answers that contain every required fact and no forbidden one."""

from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.phrases import says_one, states_one
from kit.evaluate.text import normalise


class ResolutionRate(ItemMetric):
    """1 if the answer has one phrase of every `required` group and none of `forbidden`."""

    label = "Requests resolved"
    about = "service"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = (
        "answers with every required fact and no forbidden one / answers with required or forbidden facts"
    )

    def applies(self, reference: Reference) -> bool:
        """Whether the row names required or forbidden facts."""
        return bool(reference.get("required") or reference.get("forbidden"))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the facts that are missing and the forbidden ones that are there."""
        text = normalise(prediction)
        groups = [_listed(group) for group in _listed(reference.get("required"))]
        missing = [
            f"missing: {' / '.join(map(str, group))}" for group in groups if not states_one(group, text)
        ]
        forbidden = [
            f"forbidden: {phrase}"
            for phrase in _listed(reference.get("forbidden"))
            if says_one([phrase], text)
        ]
        return float(not missing and not forbidden), missing + forbidden


def _listed(value: Any) -> list[Any]:
    """A list of phrases, or one alone, as a list."""
    return [str(value)] if isinstance(value, str | int | float) else list(value or [])
