"""Published figures beside what was found: they inform, and stop no release."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.gates import Claim
from kit.evaluate.conversations import per_group
from kit.evaluate.gate_kinds import ROUNDING
from kit.evaluate.gates import Scores, find_entry, independent, mostly_invalid, refuse_missing_figure

ClaimStatus = Literal["supported", "not supported", "not testable"]


@dataclass(frozen=True)
class ClaimResult:
    """A published figure beside what was found (`estimate`, `low`, `high`, `n`, `groups`), and why it holds.

    `definition` and `unit` say what is claimed and what one of n is; `margin` is how far below the figure
    the interval may begin; `min_n` is how many groups of prompts it takes to test it.
    """

    name: str
    definition: str
    claimed: float
    margin: float
    unit: str
    min_n: int
    found: dict[str, Any] | None
    status: ClaimStatus
    source: str
    why: str


def judge_claims(scores: Scores, claims: Sequence[Claim]) -> list[ClaimResult]:
    """Compare every claim with the greedy scores.

    `supported` needs the whole interval at or above the claimed figure, less the claim's margin: a point
    estimate that happens to lie there is not enough.

    Raises:
        ConfigError: a claim names an unknown metric, or a figure the metric does not have.
    """
    return [_judge_claim(scores, claim) for claim in claims]


def _judge_claim(scores: Scores, claim: Claim) -> ClaimResult:
    def result(status: ClaimStatus, why: str, found: dict[str, Any] | None = None) -> ClaimResult:
        return ClaimResult(
            name=claim.name,
            definition=claim.definition,
            claimed=claim.at_least,
            margin=claim.margin,
            unit=claim.unit,
            min_n=claim.min_n,
            found=found,
            status=status,
            source=claim.source,
            why=why,
        )

    if claim.metric is None:
        return result("not testable", "no offline metric can measure it")
    entry = find_entry(scores, claim.metric, "greedy", f"claims: {claim.name}")
    if entry is None:
        return result("not testable", f"{claim.metric} applied to no prompt")
    entry = per_group(entry, f"claims: {claim.name}") if claim.per == "group" else entry
    refuse_missing_figure(entry, claim.of, f"claims: {claim.name}")
    part = entry[claim.of]
    if part is None:
        return result("not testable", "the base model had nothing to reduce")
    if claim.of != "tuned" and mostly_invalid(scores, "base", "greedy"):
        return result("not testable", "most answers of the base model are empty, cut or repeating")
    groups = independent(entry)
    found = {key: part[key] for key in ("estimate", "low", "high")} | {"n": entry["n"], "groups": groups}
    made = "synthetic " if scores["synthetic"] else ""
    measured = f"measured on {entry['n']} {made}{claim.unit}{'' if entry['n'] == 1 else 's'}"
    if groups < claim.min_n:
        why = f"it takes {claim.min_n} groups of prompts to test it, and there are {groups}; {measured}"
        return result("not testable", why, found)
    if part["low"] >= claim.at_least - claim.margin - ROUNDING:
        reached = "reaches it" if part["low"] >= claim.at_least - ROUNDING else "comes within its margin"
        return result("supported", f"the whole interval {reached}; {measured}", found)
    if part["high"] < claim.at_least:
        return result("not supported", f"the whole interval lies below it; {measured}", found)
    return result("not supported", f"the interval includes it but also lower figures; {measured}", found)
