"""How far the best and the worst value of a slice column are apart: a mean may hide a lost language."""

from kit.evaluate.naming import names_of
from kit.report.formatting import Unit, difference, quantity
from kit.report.read import Json


def slice_gaps(scores: Json, metric: Json, unit: Unit) -> list[str]:
    """A sentence for every column with at least two values that were tested: max − min of either system."""
    names, told = names_of(scores), []
    parts = [part for part in metric.get("slices") or [] if part["tested"]]
    for column in dict.fromkeys(part["column"] for part in parts):
        values = [part for part in parts if part["column"] == column and _scored(part)]
        if len(values) < 2:
            continue
        worst = min(values, key=lambda part: _goodness(metric, part["tuned"]["estimate"]))
        spans = ", ".join(
            f"{name} {_span([part[system]['estimate'] for part in values], unit)}"
            for system, name in (("base", names.base), ("tuned", names.tuned))
        )
        lowest = quantity(worst["tuned"]["estimate"], unit)
        told.append(
            f"Between the best and the worst {column} of {len(values)}: {spans}. "
            f"Worst with {names.tuned}: {worst['value']}, {lowest}."
        )
    return told


def _scored(part: Json) -> bool:
    return part["base"]["estimate"] is not None and part["tuned"]["estimate"] is not None


def _goodness(metric: Json, value: float) -> float:
    return value if metric["higher_is_better"] else -value


def _span(values: list[float], unit: Unit) -> str:
    """The gap, without a sign: it has no direction."""
    return difference(max(values) - min(values), unit).lstrip("+")
