"""The part of a report on general sets: whether tuning cost what the base could do besides the case."""

from kit.report.formatting import count, difference, interval, quantity
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view import GeneralRow

_WORD = {
    "kept": "a loss of {margin} or more is ruled out",
    "lost": "this is a loss, and one of {margin} or more is not ruled out",
    "not shown": "a loss of {margin} or more is not ruled out, which is not to say that there is one",
}


def general_rows(scores: Json) -> list[GeneralRow]:
    """A row a set and metric, in the order of the settings."""
    return [_row(found, metric) for found in scores.get("general") or [] for metric in found["metrics"]]


def general_unscored(scores: Json) -> list[str]:
    """What could not be measured on a set, with the reason; and sets whose answers were often none."""
    said = []
    for found in scores.get("general") or []:
        said += [f"{found['name']}: {metric['label']}: {metric['why']}." for metric in found["unscored"]]
        for system, invalid in found["invalid"].items():
            if invalid:
                share = quantity(invalid / found["prompts"], "rate")
                said.append(
                    f"{found['name']}: {count(invalid)} of {count(found['prompts'])} answers of {system} "
                    f"({share}) are empty, cut or repeating and count as wrong."
                )
    return said


def general_losses(scores: Json) -> list[str]:
    """A notice for every set on which something was lost."""
    return [
        f"Tuning cost {row.label} on {row.set}: {row.difference} {row.difference_interval}."
        for row in general_rows(scores)
        if row.kept == "lost"
    ]


def _row(found: Json, metric: Json) -> GeneralRow:
    unit, change = unit_of(metric), metric["difference"]
    margin = difference(found["margin"], unit).removeprefix("+")
    return GeneralRow(
        set=found["name"],
        label=metric["label"],
        n=count(metric["n"]),
        base=quantity(metric["base"]["estimate"], unit),
        tuned=quantity(metric["tuned"]["estimate"], unit),
        tuned_interval=interval(metric["tuned"]["low"], metric["tuned"]["high"], unit),
        difference=difference(change["estimate"], unit),
        difference_interval=interval(change["low"], change["high"], unit),
        kept=metric["kept"],
        meaning=_WORD[metric["kept"]].format(margin=margin),
    )
