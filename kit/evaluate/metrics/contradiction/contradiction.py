"""Share of answers that say the opposite of what they should say, or of what they say themselves."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.negation import stated
from kit.evaluate.polarity import Statement, against_itself, contradicted, statements
from kit.evaluate.policy import Policy
from kit.evaluate.policy_metric import PolicyMetric
from kit.evaluate.text import normalise, phrase_pattern

_SHOWN = 60


class Contradiction(PolicyMetric):
    """1 if the answer denies the reference, a required fact or recommendation, or itself."""

    label = "Contradictions"
    about = "agreement"
    kind = "rate"
    higher_is_better = False
    invalid_item = 1.0
    formula = "answers that deny their reference, a required fact or themselves / answers with a reference"
    policy: Policy | None  # type: ignore[assignment]  # the one metric for which it is optional

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Read the policy, if one is given.

        Raises:
            TypeError: something else than `policy` was given.
            ConfigError: the policy file has errors.
        """
        self.policy = None
        if params:
            super().prepare(references, **params)

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference answer, required facts or a recommendation."""
        return any(reference.get(key) for key in ("answer", "required", "recommendation"))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1 with what is denied, or 0 if no contradiction is found."""
        question = str(reference.get("prompt") or "")
        said = statements(prediction, question)
        wanted = _reference(str(reference.get("answer") or ""), question)
        reasons = [f"denies the reference: {_pair(*pair)}" for pair in contradicted(said, wanted)[:1]]
        reasons += [f"denies itself: {_pair(*pair)}" for pair in against_itself(said)[:1]]
        reasons += [f"denies: {phrase}" for phrase in _denied_facts(normalise(prediction), reference)]
        if self.policy is not None:
            reasons += self._denied_by_policy(prediction, reference)
        return float(bool(reasons)), reasons

    def _denied_by_policy(self, prediction: str, reference: Reference) -> list[str]:
        """The recommendation and the must-rules that an answer speaks of only to deny them."""
        assert self.policy is not None  # noqa: S101  # the caller asked
        text, wanted = normalise(prediction), str(reference.get("recommendation") or "")
        denied = [
            rule.id for rule in self.policy.applicable(reference) if self.policy.denies(rule.must, text)
        ]
        phrases = self.policy.recommendations.get(wanted, [])
        advised_against = bool(phrases) and self.policy.denies(phrases, text)
        return [f"denies {rule}" for rule in denied] + (
            [f"advises against {wanted}"] if advised_against else []
        )


@lru_cache(maxsize=4096)
def _reference(answer: str, question: str) -> tuple[Statement, ...]:
    """Read once, though every system and decoding is held against the same reference."""
    return tuple(statements(answer, question))


def _denied_facts(text: str, reference: Reference) -> list[str]:
    """The required facts of which every mention is denied, and no other of their group is said."""
    required = reference.get("required") or []
    groups = [[group] if isinstance(group, str | int | float) else list(group) for group in required]
    denied = []
    for group in groups:
        places = [found.span() for phrase in group for found in phrase_pattern(str(phrase)).finditer(text)]
        if places and not any(stated(text, *place) for place in places):
            denied.append(" / ".join(map(str, group)))
    return denied


def _pair(said: str, wanted: str) -> str:
    return f"“{said[:_SHOWN]}” against “{wanted[:_SHOWN]}”"
