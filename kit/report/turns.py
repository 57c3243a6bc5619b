"""The part of a report on conversations over their turns: where the first fault comes, how many have none."""

from collections.abc import Callable, Sequence
from functools import partial

from kit.evaluate.naming import Names
from kit.report import plots
from kit.report.formatting import count, interval, quantity
from kit.report.plots import Row
from kit.report.read import Json
from kit.report.view import SliceTable
from kit.report.view_evidence import Figure, TurnRow, TurnTable

INTRO = (
    "The turns of a conversation are prompts of their own here. A customer who pushes may bring at the fifth "
    "turn what was refused at the first: this is the share of conversations without a fault up to each turn "
    "(Kaplan–Meier), and where the first fault came."
)


def turn_table(metric: Json) -> TurnTable | None:
    """What became of conversations turn by turn; None where each was asked once."""
    turns = metric.get("turns")
    if not turns:
        return None
    rows = [
        TurnRow(
            turn=count(row["turn"]),
            followed=(count(row["base"]["at_risk"]), count(row["tuned"]["at_risk"])),
            first=(count(row["base"]["first"]), count(row["tuned"]["first"])),
            base=quantity(row["base"]["estimate"], "rate"),
            base_interval=interval(row["base"]["low"], row["base"]["high"], "rate"),
            tuned=quantity(row["tuned"]["estimate"], "rate"),
            tuned_interval=interval(row["tuned"]["low"], row["tuned"]["high"], "rate"),
        )
        for row in turns
    ]
    return TurnTable(metric["label"], INTRO, rows, _figure(metric["label"], turns))


def _figure(label: str, turns: Sequence[Json]) -> Figure | None:
    rows = [
        Row(label=f"turn {row['turn']}", note="", base=_range(row["base"]), tuned=_range(row["tuned"]))
        for row in turns
    ]
    title = f"{label}: conversations without a fault, turn by turn"
    return plots.figure(partial(plots.slice_plot, rows, title))


def _range(found: Json) -> plots.Range:
    text = quantity(found["estimate"], "rate")
    return plots.Range(found["estimate"], found["low"], found["high"], text)


def turns_markdown(
    tables: Sequence[SliceTable],
    names: Names,
    escape: Callable[[str], str],
    table: Callable[[list[str], list[list[str]]], str],
) -> list[str]:
    """A table a metric for the Markdown page; nothing where every conversation was asked once."""
    found = [part.turns for part in tables if part.turns]
    if not found:
        return []
    base, tuned = escape(names.base), escape(names.tuned)
    columns = ["turn", f">first fault, {base}", f">{tuned}", f">without a fault, {base}", f">{tuned}"]
    parts = ["## Turn by turn", escape(INTRO)]
    for one in found:
        rows = [
            [
                row.turn,
                f"{row.first[0]} of {row.followed[0]}",
                f"{row.first[1]} of {row.followed[1]}",
                f"{row.base} {row.base_interval}",
                f"{row.tuned} {row.tuned_interval}",
            ]
            for row in one.rows
        ]
        parts += [f"### {escape(one.label)}", table(columns, rows)]
    return parts
