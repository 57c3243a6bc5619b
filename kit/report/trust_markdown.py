"""The sections on the judge and on calibration in the Markdown report."""

from collections.abc import Callable, Sequence

from kit.report.axes import axes_markdown
from kit.report.calibration import CalibrationCard
from kit.report.html import mark
from kit.report.judge import FaultRow, JudgeCard, Matrix, RubricsCard

Escape = Callable[[str], str]
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def judge_parts(card: JudgeCard | None, escape: Escape, table: Table) -> list[str]:
    """The section's parts; none where no judge was asked."""
    if card is None:
        return []
    parts = ["## Judge", escape(f"{card.sentence} It stands beside the metrics and replaces none of them.")]
    parts += _red(card, escape)
    parts += _figures(card.faults, "answers with a fault", escape, table)
    parts += [escape(text) for text in (card.grades, card.repeated, card.pairwise) if text]
    parts.append(_given(card, escape, table))
    parts += _beside_people(card, escape, table)
    return parts + (_rubric_parts(card.rubrics, escape, table) if card.rubrics else [])


def _rubric_parts(card: RubricsCard, escape: Escape, table: Table) -> list[str]:
    parts = ["### Criteria of rows' own rubrics", escape(card.sentence), *_red(card, escape)]
    parts += _figures(card.points, "rubric points earned", escape, table)
    parts += [escape(card.repeated)] if card.repeated else []
    parts += axes_markdown(card.axes, ("base", "tuned"), escape, table)
    parts.append(_given(card, escape, table))
    if card.reasons:
        rows = [[escape(reason), *counts] for reason, *counts in card.reasons]
        parts.append(table(["what took points, as the judge says", ">base", ">tuned"], rows))
    return parts + _beside_people(card, escape, table)


def _red(card: JudgeCard | RubricsCard, escape: Escape) -> list[str]:
    if not card.uncalibrated:
        return []
    return [
        f"> **🔴 {escape(card.status)}.** {escape(card.uncalibrated)} What it says is no evidence, and "
        "no gate may rest on it."
    ]


def _figures(found: Sequence[FaultRow], what: str, escape: Escape, table: Table) -> list[str]:
    rows = [
        [
            "<br>".join(escape(text) for text in (row.label, row.how, row.relative) if text),
            row.n,
            f"{row.base} {row.base_interval}",
            f"{row.tuned} {row.tuned_interval}",
            f"{row.difference} {row.difference_interval}",
            escape(row.p),
            f"{mark(row.verdict)} {row.verdict}" if row.verdict else "no verdict",
        ]
        for row in found
    ]
    columns = [what, ">n", ">base", ">tuned", ">difference", ">p", "verdict"]
    return [table(columns, rows)] if rows else []


def _given(card: JudgeCard | RubricsCard, escape: Escape, table: Table) -> str:
    given = [[system, *counts] for system, counts in card.counts]
    return table(["verdicts", *(f">{escape(name)}" for name in card.verdicts)], given)


def _beside_people(card: JudgeCard | RubricsCard, escape: Escape, table: Table) -> list[str]:
    if not card.agreement:
        return []
    parts = [escape(card.agreement_note), _agreement(card, escape, table)]
    return parts + [part for matrix in card.matrices for part in _matrix(matrix, escape, table)]


def _agreement(card: JudgeCard | RubricsCard, escape: Escape, table: Table) -> str:
    rows = [
        [
            escape(row.part),
            row.n,
            row.agreement,
            f"{row.kappa} {row.kappa_interval}",
            f"{row.sensitivity} {row.sensitivity_interval}",
            f"{row.specificity} {row.specificity_interval}",
        ]
        for row in card.agreement
    ]
    columns = [
        "judge beside people",
        ">n",
        ">agreement",
        ">kappa",
        ">faults it sees",
        ">sound ones it lets pass",
    ]
    return table(columns, rows)


def _matrix(matrix: Matrix, escape: Escape, table: Table) -> list[str]:
    rows = [[escape(label), *counts] for label, counts in matrix.rows]
    columns = ["people say", *(f">{escape(name)}" for name in matrix.verdicts)]
    return [escape(matrix.title), table(columns, rows)]


def calibration_parts(cards: Sequence[CalibrationCard], escape: Escape, table: Table) -> list[str]:
    """The section's parts; none where no calibration metric was asked for."""
    parts = []
    for card in cards:
        rows = [
            [row.share, f"{row.base} {row.base_interval}", f"{row.tuned} {row.tuned_interval}"]
            for row in card.coverage
        ]
        columns = ["answered, the most confident first", ">accuracy of base", ">accuracy of tuned"]
        parts += [escape(card.sentence), table(columns, rows)]
    return ["## Calibration", *parts] if parts else []
