"""Labour cost as a model: what the user typed, with the contained share that the test set measured.

A contact costs C = (1 - d)·t_h·w + d·q·t_r·w + c. The saving against base is 1 - C_tuned / C_base, in which
the number of contacts cancels out. C is linear in each input, so the saving rises or falls in each one
throughout: over ranges of all of them it is least and greatest at corners, and trying every corner gives the
exact ends. They are the worst and the best case and have no confidence: no distribution is made up.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.labour import Labour, low_best_high
from kit.evaluate.gates import find_entry, independent

METHOD = "every corner of the ranges"

Span = tuple[float, float, float]
"""Lowest, likeliest, highest."""
Values = Mapping[str, float]

_TYPED = (
    "contacts",
    "minutes_per_contact",
    "hourly_wage",
    "review_share",
    "minutes_per_review",
    "inference_cost",
)
_MEASURED = ("contained_base", "contained_tuned")


def model_labour(scores: dict[str, Any], labour: Labour | None) -> dict[str, Any] | None:
    """The `labour` block of `report.json`; None where the project types no assumptions.

    `saving` is null, and `why` says so, where the contained share was not measured or base costs nothing.

    Raises:
        ConfigError: `labour.contained` is no metric of this evaluation, or is not a share to be raised.
    """
    if labour is None:
        return None
    entry = find_entry(scores, labour.contained, "greedy", "labour.contained")
    if entry is None:
        return _not_modelled(labour, f"{labour.contained} applied to no prompt")
    if entry["kind"] != "rate" or not entry["higher_is_better"]:
        hint = "name a metric whose score is the share of contacts that need no person, as resolution_rate"
        raise ConfigError(Problem("labour.contained", f"{labour.contained!r} is no such share", hint))
    spans = {name: low_best_high(getattr(labour, name)) for name in _TYPED}
    for system in ("base", "tuned"):
        spans[f"contained_{system}"] = tuple(entry[system][key] for key in ("low", "estimate", "high"))
    if min(per_contact(corner, "base") for corner in _corners(spans)) <= 0:
        return _not_modelled(labour, "base's contacts may cost nothing, so no share of that can be saved")
    return {
        **_head(labour),
        "contained": {
            "metric": labour.contained,
            "label": entry["label"],
            "n": entry["n"],
            "groups": independent(entry),
            "confidence": scores["confidence"],
            **{system: _told(spans[f"contained_{system}"]) for system in ("base", "tuned")},
        },
        "assumptions": {name: _told(spans[name]) for name in _TYPED},
        "per_contact": {who: _over(spans, who, per_contact) for who in ("people", "base", "tuned")},
        "per_month": {who: _over(spans, who, per_month) for who in ("people", "base", "tuned")},
        "saving": _over(spans, "base", saving) | {"method": METHOD},
        "saving_against_people": _over(spans, "people", saving) | {"method": METHOD},
        "tornado": tornado(spans),
        "why": "",
    }


def per_contact(values: Values, who: str) -> float:
    """The cost of one contact, C / N.

    Args:
        values: the inputs by name; shares from 0 to 1, minutes, money.
        who: `base` or `tuned`, or `people`, who answer every contact with no model beside them.
    """
    by_hand = values["minutes_per_contact"] / 60 * values["hourly_wage"]
    if who == "people":
        return by_hand
    contained = values[f"contained_{who}"]
    reviewed = values["review_share"] * values["minutes_per_review"] / 60 * values["hourly_wage"]
    return (1 - contained) * by_hand + contained * reviewed + values["inference_cost"]


def per_month(values: Values, who: str) -> float:
    """The cost of a month, C."""
    return values["contacts"] * per_contact(values, who)


def saving(values: Values, against: str = "base") -> float:
    """1 - C_tuned / C_against: the share of the cost that goes away; below 0, what is added."""
    return 1 - per_contact(values, "tuned") / per_contact(values, against)


def tornado(spans: Mapping[str, Span]) -> list[dict[str, Any]]:
    """How far the saving moves with each input alone, all others at their best value; widest first."""
    best = _best(spans)
    rows = []
    for name, (low, _, high) in spans.items():
        if name == "contacts" or low == high:
            continue
        ends = [saving({**best, name: value}) for value in (low, high)]
        row = {"input": name, "measured": name in _MEASURED, "low": low, "high": high}
        rows.append({**row, "at_low": ends[0], "at_high": ends[1], "swing": abs(ends[1] - ends[0])})
    return sorted(rows, key=lambda row: (-row["swing"], row["input"]))


def tell_assumptions(labour: dict[str, Any], synthetic: bool) -> str:
    """What the model took for granted, in words: measured shares first, then everything that was typed."""
    contained, typed = labour["contained"], labour["assumptions"]
    made = "synthetic " if synthetic else ""
    shares = " to ".join(f"{_range_of(contained[system], '.1%')} ({system})" for system in ("base", "tuned"))
    money = f" {labour['currency']}".rstrip()
    return (
        f"a contained share of {shares}, {contained['label']} on {contained['n']} {made}prompts, and typed: "
        f"{_range_of(typed['contacts'])} contacts a month, "
        f"{_range_of(typed['minutes_per_contact'])} minutes each, "
        f"{_range_of(typed['hourly_wage'])}{money} an hour, "
        f"{_range_of(typed['review_share'], '.0%')} of contained contacts reviewed, "
        f"{_range_of(typed['minutes_per_review'])} minutes each, "
        f"{_range_of(typed['inference_cost'])}{money} a contact for the model"
    )


def _range_of(told: Mapping[str, float], form: str = ",.10g") -> str:
    """6 (4 to 9), or 6 where nothing else is possible."""
    best = f"{told['best']:{form}}"
    return best if told["low"] == told["high"] else f"{best} ({told['low']:{form}} to {told['high']:{form}})"


def _over(spans: Mapping[str, Span], who: str, figure: Any) -> dict[str, float]:
    """A figure with all inputs at their best, and its least and greatest over every corner."""
    found = [figure(corner, who) for corner in _corners(spans)]
    return {"estimate": figure(_best(spans), who), "low": min(found), "high": max(found)}


def _best(spans: Mapping[str, Span]) -> Values:
    return {name: best for name, (_, best, _) in spans.items()}


def _corners(spans: Mapping[str, Span]) -> Iterator[Values]:
    ends = [sorted({low, high}) for low, _, high in spans.values()]
    return (dict(zip(spans, corner, strict=True)) for corner in product(*ends))


def _told(span: Span) -> dict[str, float]:
    return dict(zip(("low", "best", "high"), span, strict=True))


def _head(labour: Labour) -> dict[str, Any]:
    return {"basis": "modelled", "currency": labour.currency}


def _not_modelled(labour: Labour, why: str) -> dict[str, Any]:
    return {**_head(labour), "saving": None, "tornado": [], "why": why}
