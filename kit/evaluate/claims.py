"""Published figures beside what was found or modelled: they inform, and stop no release."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.gates import Claim
from kit.evaluate import judge_gate
from kit.evaluate.conversations import per_group
from kit.evaluate.gate_kinds import ROUNDING
from kit.evaluate.gates import (
    Scores,
    broken_base,
    find_entry,
    independent,
    mostly_invalid,
    refuse_missing_figure,
)
from kit.evaluate.labour import tell_assumptions
from kit.evaluate.naming import names_of

ClaimStatus = Literal["supported", "not supported", "not testable"]


@dataclass(frozen=True)
class ClaimResult:
    """A published figure beside what was found (`estimate`, `low`, `high`, `n`, `groups`), and why it holds.

    `definition` and `unit` say what is claimed and what one of n is; `margin` is how far below the figure
    the interval may begin; `min_n` is how many groups of prompts it takes to test it. `basis` tells what a
    cost model answered from what was measured: then `low` and `high` are its worst and best case.
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
    basis: Literal["measured", "modelled"]


def judge_claims(
    scores: Scores, claims: Sequence[Claim], labour: dict[str, Any] | None = None
) -> list[ClaimResult]:
    """Compare every claim with the greedy scores, or with the cost model of labour where it is one for it.

    `supported` needs the whole interval at or above the claimed figure, less the claim's margin: a point
    estimate that happens to lie there is not enough.

    Args:
        labour: what `model_labour` made of the project's assumptions.

    Raises:
        ConfigError: a claim names an unknown metric, or a figure the metric does not have.
    """
    return [_judge_claim(scores, claim, labour) for claim in claims]


def _judge_claim(scores: Scores, claim: Claim, labour: dict[str, Any] | None) -> ClaimResult:
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
            basis="modelled" if claim.modelled_by else "measured",
        )

    if claim.modelled_by == "labour":
        return result(*_ask_the_model(scores, claim, labour))
    if claim.metric is None:
        return result("not testable", "no offline metric can measure it")
    entry = find_entry(scores, claim.metric, "greedy", f"claims: {claim.name}")
    if entry is None:
        asked = claim.metric == judge_gate.NAME and scores.get("judge")
        unscored = f"{claim.metric} applied to no prompt"
        return result("not testable", judge_gate.why_not(scores, "greedy") if asked else unscored)
    entry = per_group(entry, f"claims: {claim.name}") if claim.per == "group" else entry
    refuse_missing_figure(entry, claim.of, f"claims: {claim.name}")
    part = entry[claim.of]
    if part is None:
        return result("not testable", f"{names_of(scores).the_base} had nothing to reduce")
    if claim.of != "tuned" and broken_base(scores, entry):
        why = f"most answers of {names_of(scores).the_base} are invalid"
        return result("not testable", why)
    groups = independent(entry)
    found = {key: part[key] for key in ("estimate", "low", "high")} | {"n": entry["n"], "groups": groups}
    made = "synthetic " if scores["synthetic"] else ""
    measured = f"measured on {entry['n']} {made}{claim.unit}{'' if entry['n'] == 1 else 's'}"
    if groups < claim.min_n:
        why = f"it takes {claim.min_n} groups of prompts to test it, and there are {groups}; {measured}"
        return result("not testable", why, found)
    status, why = _hold(claim, part["low"], part["high"], "interval")
    return result(status, f"{why}; {measured}", found)


def _hold(claim: Claim, low: float, high: float, span: str) -> tuple[ClaimStatus, str]:
    """Whether a span supports a claim, and how it lies to the claimed figure."""
    if low >= claim.at_least - claim.margin - ROUNDING:
        reached = "reaches it" if low >= claim.at_least - ROUNDING else "comes within its margin"
        return "supported", f"the whole {span} {reached}"
    if high < claim.at_least:
        return "not supported", f"the whole {span} lies below it"
    return "not supported", f"the {span} includes it but also lower figures"


def _ask_the_model(
    scores: Scores, claim: Claim, labour: dict[str, Any] | None
) -> tuple[ClaimStatus, str, dict[str, Any] | None]:
    """Status, reason and figure of a claim on labour; the reason prints what was taken for granted."""
    if labour is None:
        why = "no offline metric can measure it; type your own assumptions under `labour` to model it"
        return "not testable", why, None
    if labour["saving"] is None:
        return "not testable", labour["why"], None
    if mostly_invalid(scores, "base", "greedy"):
        return "not testable", "most answers of the base model are invalid", None
    contained = labour["contained"]
    found = {key: labour["saving"][key] for key in ("estimate", "low", "high")}
    found |= {"n": contained["n"], "groups": contained["groups"]}
    told = f"modelled and not measured, from {tell_assumptions(labour, bool(scores['synthetic']))}"
    if contained["groups"] < claim.min_n:
        lacking = f"it takes {claim.min_n} groups of prompts to test it, and there are {contained['groups']}"
        return "not testable", f"{lacking}; {told}", found
    status, why = _hold(claim, labour["saving"]["low"], labour["saving"]["high"], "range")
    return status, f"{why}; {told}", found
