"""Share of service answers that contain every required fact and no forbidden one."""

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.negation import negated
from kit.evaluate.text import normalise, phrase_pattern


class ResolutionRate(ItemMetric):
    """1 if the answer has one phrase of every `required` group and none of `forbidden`."""

    label = "Requests resolved"
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
        groups = [[group] if isinstance(group, str) else group for group in reference.get("required") or []]
        missing = [
            f"missing: {' / '.join(map(str, group))}"
            for group in groups
            if not any(phrase_pattern(str(phrase)).search(text) for phrase in group)
        ]
        forbidden = [
            f"forbidden: {phrase}" for phrase in reference.get("forbidden") or [] if _said(str(phrase), text)
        ]
        return float(not missing and not forbidden), missing + forbidden


def _said(phrase: str, text: str) -> bool:
    """Whether a phrase stands somewhere in the text without being denied there."""
    return any(
        not negated(text, found.start(), found.end()) for found in phrase_pattern(phrase).finditer(text)
    )
