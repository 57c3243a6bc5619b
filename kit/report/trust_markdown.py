"""The sections on the judge and on calibration in the Markdown report."""

from collections.abc import Callable, Sequence

from kit.report.calibration import CalibrationCard
from kit.report.html import mark
from kit.report.judge import JudgeCard, Matrix

Escape = Callable[[str], str]
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def judge_parts(card: JudgeCard | None, escape: Escape, table: Table) -> list[str]:
    """The section's parts; none where no judge was asked."""
    if card is None:
        return []
    parts = ["## Judge", escape(f"{card.sentence} It stands beside the metrics and replaces none of them.")]
    if card.uncalibrated:
        parts.append(
            f"> **🔴 {escape(card.status)}.** {escape(card.uncalibrated)} What it says is no evidence, and "
            "no gate may rest on it."
        )
    if card.faults:
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
            for row in card.faults
        ]
        columns = ["answers with a fault", ">n", ">base", ">tuned", ">difference", ">p", "verdict"]
        parts.append(table(columns, rows))
    parts += [escape(text) for text in (card.grades, card.repeated, card.pairwise) if text]
    given = [[system, *counts] for system, counts in card.counts]
    parts.append(table(["verdicts", *(f">{escape(name)}" for name in card.verdicts)], given))
    if card.agreement:
        parts += [escape(card.agreement_note), _agreement(card, escape, table)]
        parts += [part for matrix in card.matrices for part in _matrix(matrix, escape, table)]
    return parts


def _agreement(card: JudgeCard, escape: Escape, table: Table) -> str:
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
