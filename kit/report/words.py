"""Sentences: what changed, what a gate asks, what limits the evidence."""

from typing import TYPE_CHECKING, Any

from kit.config.gates import Claim, Gate
from kit.evaluate.naming import BASE_AND_TUNED, Names
from kit.report.formatting import (
    MINUS,
    NONE,
    Unit,
    count,
    difference,
    estimate,
    interval,
    p_value,
    plural,
    quantity,
)
from kit.report.read import Json

if TYPE_CHECKING:
    from kit.evaluate.gates import GateResult

_OF = {
    "tuned": "{tuned}",
    "difference": "{tuned} minus {base}",
    "reduction": "reduction against {base}",
    "ratio": "{base} over {tuned}",
}
_PASSES_ON = {"estimate": "the estimate", "lower": "the lower bound", "upper": "the upper bound"}
_BOUND = {"estimate": "", "lower": ", lower bound", "upper": ", upper bound"}


def better(metric: Json) -> str:
    """Which way a metric wants to go."""
    return "higher is better" if metric["higher_is_better"] else "lower is better"


def change_sentence(metric: Json, unit: Unit, confidence: float) -> str:
    """One metric's change, in a sentence that stands without its table."""
    from kit.evaluate.bootstrap import fewest_clusters

    base, tuned, change = metric["base"], metric["tuned"], metric["difference"]
    if base["estimate"] is None or tuned["estimate"] is None or change["estimate"] is None:
        return "No prompt could be scored on both systems."
    values = f"{quantity(base['estimate'], unit)} to {quantity(tuned['estimate'], unit)}"
    if unit == "rate":
        n = metric["n"]
        values += f" ({count(round(base['estimate'] * n))} to {count(round(tuned['estimate'] * n))}"
        values += f" of {plural(n, 'prompt')})"
    evidence = (
        f"{difference(change['estimate'], unit)} "
        f"{interval(change['low'], change['high'], unit)}{_and_p(judged_p(change))}"
    )
    fewest, groups = fewest_clusters(confidence), int(metric["groups"] if "groups" in metric else metric["n"])
    if groups < fewest:
        return (
            f"From {values}: {evidence}. Not enough evidence: fewer than {fewest} independent prompts can "
            f"show no change, and there {'is' if groups == 1 else 'are'} {count(groups)}."
        )
    if metric["verdict"] == "not shown":
        crosses_zero = change["low"] <= 0 <= change["high"]
        why = "Chance alone could explain this" if crosses_zero else "Too few prompts to be sure of it"
        if not crosses_zero and "adjusted_p" in change:
            why = "Among so many comparisons chance could explain this"
        return f"From {values}: {evidence}. {why}; no change is shown."
    moved = "rose" if change["estimate"] > 0 else "fell"
    sentence = f"{moved.capitalize()} from {values}: {evidence}."
    relative = relative_change(metric)
    if relative and metric["verdict"] == "improved":
        sentence += f" That is {relative}."
    return sentence if metric["verdict"] == "improved" else f"{sentence} This is a loss."


def judged_p(change: Json) -> float | None:
    """The p-value that a difference is judged by: corrected where it is one of several comparisons."""
    value: float | None = change.get("adjusted_p", change.get("p_value"))
    return value


def relative_change(metric: Json) -> str:
    """The speed-up, or how many fewer faults, with its interval; empty where neither is shown."""
    reduction, ratio = metric.get("reduction"), metric.get("ratio")
    if ratio:
        return f"{estimate(ratio, 'factor')} as fast"
    if not reduction or metric["verdict"] != "improved" or reduction["low"] <= 0:
        return ""
    if reduction["at_least"]:
        return f"at least {quantity(reduction['low'], 'rate')} fewer"
    return f"{estimate(reduction, 'rate')} fewer"


def gate_asks(gate: Gate, label: str, names: Names = BASE_AND_TUNED) -> str:
    """What a gate looks at: metric, side, bound, decoding and slice."""
    base, tuned = names.base, names.tuned
    text = f"{label}, {_OF[gate.of].format(base=base, tuned=tuned)}{_BOUND[gate.bound]}"
    if gate.kind == "zero_tolerance":
        worse = "" if gate.zero_tolerance == "critical" else " or worse"
        text = f"{label}, answers that break a {gate.zero_tolerance}{worse} rule, all decodings"
    if gate.kind == "significant":
        text = f"{label}, {tuned} better than {base}"
    if gate.kind == "non_inferior":
        text = f"{label}, {tuned} minus {base}, unfavourable bound"
    if gate.worst_of:
        text += f", expected worst of {gate.worst_of} answers"
    elif gate.decoding == "sampled":
        text += ", sampled"
    if gate.on:
        text += f", on {gate.on}"
    return f"{text}, worst {gate.worst}" if gate.worst else text


def gate_wanted(gate: Gate, unit: Unit, metric: Json | None, confidence: float) -> str:
    """A gate's threshold with its sign and unit: ≤ 5.0%."""
    if gate.kind == "zero_tolerance":
        return "none"
    if gate.kind == "significant":
        return p_value(1 - confidence).replace("=", "<")
    if gate.non_inferior is not None:
        sign, side = (">", -1) if metric is None or metric["higher_is_better"] else ("<", 1)
        return f"{sign} {difference(side * gate.non_inferior.margin, unit)}"
    sign, value = ("≥", gate.at_least) if gate.at_least is not None else ("≤", gate.at_most)
    return f"{sign} {threshold(value, gate.of, unit)}"


def threshold(value: float | None, of: str, unit: Unit) -> str:
    """A gate's value in the unit of what it looks at: a score, a difference, a share, a factor."""
    if of == "difference":
        return difference(value, unit)
    return quantity(value, _unit_of_side(of, unit))


def gate_found(result: "GateResult", gate: Gate, unit: Unit) -> str:
    """What a gate judged: the figure or its bound, an adjusted p-value, or how many answers."""
    if gate.kind == "zero_tolerance":
        return NONE if result.found is None else count(round(result.found))
    if gate.kind == "significant":
        return p_value(result.adjusted_p)
    return threshold(result.found, result.of, unit)


def gate_why(result: "GateResult", gate: Gate, unit: Unit, names: Names = BASE_AND_TUNED) -> str:
    """Why a gate stays open, or how far the interval of one that passed reaches; empty for others."""
    if result.why:
        told = sentence(result.why)
        is_name = names != BASE_AND_TUNED and result.why.startswith((names.base, names.tuned))
        return result.why[0] + told[1:] if is_name else told  # a file's name has no capital of its own
    if not result.reaches_past:
        return ""
    end = result.low if gate.at_least is not None else result.high
    return f"It passes on {_PASSES_ON[gate.bound]}; the interval goes on to {threshold(end, gate.of, unit)}."


def gate_interval(result: "GateResult", gate: Gate, unit: Unit) -> str:
    """The interval of what a gate looks at, with its estimate where something else is judged; or empty."""
    if result.low is None or result.high is None:
        return ""
    if gate.kind == "zero_tolerance":
        return f"up to {quantity(result.high, 'rate')}"
    side = unit if result.of == "difference" else _unit_of_side(result.of, unit)
    span = interval(result.low, result.high, side)
    if gate.kind == "threshold" and gate.bound == "estimate":
        return span
    return f"estimate {threshold(result.estimate, result.of, unit)} {span}"


def claim_claimed(claim: Claim, unit: Unit) -> str:
    """The claimed figure: a fall for reductions, a factor for ratios, else in the metric's unit."""
    if claim.of == "reduction" or (claim.metric is None and claim.at_least < 1):
        sign = MINUS if claim.of == "reduction" else ""
        return f"{sign}{quantity(claim.at_least, 'rate')}"
    return threshold(claim.at_least, claim.of, unit)


def claim_margin(claim: Claim, unit: Unit) -> str:
    """How far from the claimed figure still counts; empty where nothing does."""
    if not claim.margin:
        return ""
    if claim.of == "ratio":
        return f"within {quantity(claim.margin, 'factor')}"
    return f"within {difference(claim.margin, 'rate' if claim.of == 'reduction' else unit).removeprefix('+')}"


def claim_found(found: dict[str, Any] | None, claim: Claim, unit: Unit) -> tuple[str, str]:
    """What this evaluation found for a claim, and its interval (empty where there is none)."""
    if not found or found.get("estimate") is None:
        return NONE, ""
    low, high = found.get("low"), found.get("high")
    if claim.of == "reduction":
        return _fall(found)
    side = unit if claim.of == "difference" else _unit_of_side(claim.of, unit)
    value = threshold(found["estimate"], claim.of, unit)
    return value, "" if low is None or high is None else interval(low, high, side)


def _fall(found: dict[str, Any]) -> tuple[str, str]:
    """A reduction as a fall: −96.2% [−98.9, −90.1]."""
    low, high = found.get("low"), found.get("high")
    value = quantity(-found["estimate"], "rate")
    return value, "" if low is None or high is None else interval(-high, -low, "rate")


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _unit_of_side(of: str, unit: Unit) -> Unit:
    if of == "reduction":
        return "rate"
    return "factor" if of == "ratio" else unit


def _and_p(value: float | None) -> str:
    return "" if value is None else f", {p_value(value)}"
