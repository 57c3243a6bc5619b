"""What each kind of gate looks at in a comparison, and whether it holds there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.gates import Gate
from kit.evaluate.multiplicity import holm
from kit.evaluate.naming import BASE_AND_TUNED, Names
from kit.evaluate.statistics import upper_bound_of_none

Part = dict[str, Any]
"""A metric's comparison on all prompts or on one slice, as in `scores.json`."""

ROUNDING = 1e-9
_BOUND_KEYS = {"estimate": "estimate", "lower": "low", "upper": "high"}


@dataclass(frozen=True)
class Found:
    """What a gate found: the number it judges, the estimate and interval it belongs to, and the answer.

    `holds` is None where the number does not exist. `lacking` says why then, `why` what made the gate hold
    or not where the numbers alone do not say it.
    """

    found: float | None
    estimate: float | None
    low: float | None
    high: float | None
    holds: bool | None
    lacking: str = ""
    why: str = ""
    p_value: float | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True)
class Context:
    """What a gate has to know besides the comparison.

    `others` are the p-values of the other gates that ask for significance: the family of the correction.
    """

    higher_is_better: bool
    confidence: float
    others: Sequence[float] = ()
    names: Names = BASE_AND_TUNED


def look(part: Part, gate: Gate, context: Context) -> Found:
    """Hold a gate against a part; not for gates without tolerance (`look_at_rules`)."""
    if gate.kind == "significant":
        return _significant(part, context)
    if gate.kind == "non_inferior":
        return _non_inferior(part, gate, context)
    return _threshold(part, gate, context)


def meets(gate: Gate, value: float) -> bool:
    """Whether a value is on the right side of a gate's threshold."""
    if gate.at_least is not None:
        return value >= gate.at_least - ROUNDING
    assert gate.at_most is not None  # noqa: S101  # the schema: exactly one of the two
    return value <= gate.at_most + ROUNDING


def p_in_the_good_direction(part: Part, higher_is_better: bool) -> float:
    """The p-value of a part's difference; 1 where tuned is not the better one, or nothing was tested."""
    figure = part.get("difference") or {}
    estimate, p_value = figure.get("estimate"), figure.get("p_value")
    if estimate is None or p_value is None or estimate == 0 or (estimate > 0) != higher_is_better:
        return 1.0
    return float(p_value)


def _threshold(part: Part, gate: Gate, context: Context) -> Found:
    figure = part.get(gate.of) or {}
    value = figure.get(_BOUND_KEYS[gate.bound])
    estimate, low, high = figure.get("estimate"), figure.get("low"), figure.get("high")
    if value is None:
        lacking = f"{context.names.the_base} had nothing to reduce"
        return Found(None, estimate, low, high, None, lacking=lacking)
    return Found(float(value), estimate, low, high, meets(gate, float(value)))


def _significant(part: Part, context: Context) -> Found:
    figure = part["difference"]
    estimate, low, high = figure["estimate"], figure["low"], figure["high"]
    if figure["p_value"] is None:
        lacking = "a slice of so few groups of prompts is not tested"
        return Found(estimate, estimate, low, high, None, lacking=lacking)
    raw = p_in_the_good_direction(part, context.higher_is_better)
    adjusted = holm([*context.others, raw])[-1]
    family = len(context.others) + 1
    corrected = f"corrected for {family} such gates (Holm)" if family > 1 else ""
    shown = low > 0 if context.higher_is_better else high < 0
    holds = shown and 1 - adjusted > context.confidence  # 1 - 0.95 rounds to more than 0.05
    if holds:
        why = corrected
    elif estimate == 0 or (estimate > 0) != context.higher_is_better:
        why = f"{context.names.tuned} is not better than {context.names.base}"
    else:
        why = f"chance alone could explain it{f', {corrected}' if corrected else ''}"
    p_value = float(figure["p_value"])
    return Found(estimate, estimate, low, high, holds, why=why, p_value=p_value, adjusted_p=adjusted)


def rules_out_loss(difference: Part, higher_is_better: bool, margin: float) -> bool:
    """Whether the interval of tuned minus base leaves out a loss of `margin` or more."""
    loss = -difference["low"] if higher_is_better else difference["high"]
    return bool(loss < margin - ROUNDING)


def _non_inferior(part: Part, gate: Gate, context: Context) -> Found:
    assert gate.non_inferior is not None  # noqa: S101  # the kind says so
    figure, margin = part["difference"], gate.non_inferior.margin
    estimate, low, high = figure["estimate"], figure["low"], figure["high"]
    bound = low if context.higher_is_better else high
    holds = rules_out_loss(figure, context.higher_is_better, margin)
    why = "" if holds else "so large a loss is not ruled out, which is not to say that there is one"
    worst = estimate if context.higher_is_better else -estimate
    if not holds and worst <= -margin:
        why = f"{context.names.tuned} lost as much as the margin or more"
    return Found(bound, estimate, low, high, holds, why=why)


def refuse_meaningless_margin(entry: Part, gate: Gate, where: str) -> None:
    """A margin of 2 for two points would let every loss pass.

    Raises:
        ConfigError: the margin of a gate on a rate is no share.
    """
    if gate.non_inferior is not None and entry["kind"] == "rate" and gate.non_inferior.margin >= 1:
        hint = "a rate's margin is a share: write 0.02 for two points"
        raise ConfigError(Problem(where, f"no rate can lose {gate.non_inferior.margin:g}", hint))


def further_drawn(scores: Part, gate: Gate) -> dict[str, Part]:
    """Counts of the sampled answers besides the first, as of a decoding; none where there are no such."""
    severities = (scores.get("worst_at_k") or {"severities": {}})["severities"].get(gate.metric)
    return {} if severities is None else {"further sampled": severities[gate.zero_tolerance]["tuned"]}


def look_at_rules(parts: dict[str, Part], gate: Gate, confidence: float) -> tuple[Found, int, int]:
    """Whether no answer of any decoding breaks a rule of the gate's severity or a worse one.

    Args:
        parts: for every decoding the tuned system's counts (`kit.evaluate.severity`).

    Returns:
        What was found (how many answers; the upper bound of the rate where none), the prompts and the
        groups they form: the fewest of any decoding.
    """
    n, groups = (min(part[key] for part in parts.values()) for key in ("n", "groups"))
    broken = sum(part["found"] for part in parts.values())
    *others, last = (f"{part['n']} {decoding}" for decoding, part in parts.items())
    looked_at = f"{', '.join(others)} and {last}" if others else last
    if broken:
        rules: dict[str, int] = {}
        for part in parts.values():
            for rule, count in part["rules"].items():
                rules[rule] = rules.get(rule, 0) + count
        named = ", ".join(f"{rule} ({count})" for rule, count in sorted(rules.items()))
        why = f"{broken} of {looked_at} answers: {named}"
        return Found(broken, None, None, None, False, why=why), n, groups
    if groups == 0:
        lacking = "no valid answer to a prompt that such a rule applies to"
        return Found(0, None, None, None, None, lacking=lacking), n, groups
    bound = upper_bound_of_none(groups, confidence)
    why = f"none in {looked_at} answers; up to {100 * bound:.2g}% of prompts may still get one"
    return Found(0, None, 0.0, bound, True, why=why), n, groups
