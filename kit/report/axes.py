"""The part of a report on rubrics axis by axis: where answers lose their points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kit.report.formatting import BothSystems, both_systems, count, plural
from kit.report.read import Json


@dataclass(frozen=True)
class AxisRow(BothSystems):
    """Both systems on the criteria of one axis."""

    axis: str
    n: str


@dataclass(frozen=True)
class AxisTable:
    """One metric under one decoding."""

    label: str
    rows: list[AxisRow]


def axis_rows(metric: Json) -> list[AxisRow]:
    """The axes of a metric's entry, in alphabetical order; none where its criteria name none."""
    return [
        AxisRow(axis=part["axis"], n=_prompts(part), **both_systems(part, "score"))
        for part in metric.get("axes") or []
    ]


def axis_tables(scores: Json) -> list[AxisTable]:
    """A table for every metric whose criteria name axes."""
    return [
        AxisTable(f"{metric['label']}, {'as given' if scores.get('given') else metric['decoding']}", rows)
        for metric in scores["metrics"]
        if (rows := axis_rows(metric))
    ]


def _prompts(part: Json) -> str:
    return count(part["n"]) + (f" in {plural(part['groups'], 'group')}" if part["groups"] < part["n"] else "")


def axes_markdown(
    rows: Sequence[AxisRow],
    heads: Sequence[str],
    escape: Callable[[str], str],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
) -> list[str]:
    """The table of one metric; nothing where there are no axes.

    Args:
        heads: what base and tuned are called, escaped.
    """
    if not rows:
        return []
    cells = [
        [
            escape(row.axis),
            row.n,
            f"{row.base} {row.base_interval}",
            f"{row.tuned} {row.tuned_interval}",
            f"{row.difference} {row.difference_interval}",
        ]
        for row in rows
    ]
    return [table(["axis", ">n", *(f">{head}" for head in heads), ">difference"], cells)]
