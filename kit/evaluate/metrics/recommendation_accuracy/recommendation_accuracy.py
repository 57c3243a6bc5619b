"""Share of answers that recommend what the reference recommends."""

from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.policy_metric import PolicyMetric


class RecommendationAccuracy(PolicyMetric):
    """1 if the answer's most urgent recommendation is the expected label, such as `emergency`."""

    label = "Correct recommendation"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    label_key = "recommendation"
    formula = (
        "answers whose most urgent recommendation equals the expected one / answers with an expected one"
    )

    def applies(self, reference: Reference) -> bool:
        """Whether the row has an expected `recommendation`."""
        return bool(reference.get("recommendation"))

    def unreachable(self, reference: Reference) -> str:
        """A label for which the policy has no phrases: whatever the answer, it is scored as wrong."""
        wanted, known = str(reference["recommendation"]), self.policy.recommendations
        if wanted in known:
            return ""
        return f"the label {wanted!r} is none of `recommendations` in {self.policy.path} ({', '.join(known)})"

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with what was recommended and what was expected."""
        found, wanted = self.policy.recommendation(prediction), str(reference["recommendation"])
        if found == wanted:
            return 1.0, []
        return 0.0, [f"recommended {found or 'nothing'}, expected {wanted}"]
