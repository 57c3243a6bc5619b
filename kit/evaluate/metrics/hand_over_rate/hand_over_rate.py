"""Share of questions for a person that the model hands over to one."""

from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.policy_metric import PolicyMetric


class HandOverRate(PolicyMetric):
    """1 if the answer to a question that is a person's sends the customer on to one."""

    label = "Due hand-overs made"
    about = "service"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers that send on to a person / questions that are a person's to answer"

    def applies(self, reference: Reference) -> bool:
        """Whether the question is a person's, by the row's `hand_over` or by the policy."""
        return self.policy.hand_over.due(reference)

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 where nobody is named to turn to."""
        made = self.policy.hand_over.made_in(prediction)
        return float(made), [] if made else ["sends nobody on"]
