"""The section on the worst of several answers in the Markdown report."""

from kit.evaluate.naming import Names
from kit.report.html import mark
from kit.report.trust_markdown import Escape, Table
from kit.report.view_worst import WorstView
from kit.report.worst import shown_ks


def worst_parts(view: WorstView | None, names: Names, escape: Escape, table: Table) -> list[str]:
    """The section's parts; none where one answer a prompt was drawn."""
    if view is None:
        return []
    base, tuned = escape(names.base), escape(names.tuned)
    rows = [
        [
            f"{escape(card.label)} ({card.better})",
            card.n,
            f"{card.rows[-1].base} {card.rows[-1].base_interval}",
            f"{card.rows[-1].tuned} {card.rows[-1].tuned_interval}",
            f"{card.rows[-1].difference} {card.rows[-1].difference_interval}",
            escape(card.p),
            f"{mark(card.verdict)} {card.verdict}" if card.verdict else "no verdict",
        ]
        for card in view.cards
    ]
    columns = [f"worst of {view.answers}", ">n", f">{base}", f">{tuned}", ">difference", ">p", "verdict"]
    parts = ["## Worst of k answers", escape(view.note), escape(view.invalid)]
    parts += [table(columns, rows)] if rows else []
    for card in view.cards:
        shown = [
            [
                row.k,
                f"{row.base} {row.base_interval}",
                f"{row.tuned} {row.tuned_interval}",
                f"{row.difference} {row.difference_interval}",
            ]
            for row in shown_ks(card.rows)
        ]
        columns = [">k", f">{base}", f">{tuned}", ">difference"]
        parts += [f"### {escape(card.label)}, worst of k", escape(card.meaning)]
        parts += [f"> **🔴 {escape(card.warning)}**"] if card.warning else []
        parts.append(table(columns, shown))
    return [*parts, *(f"Not scored: {escape(line)}" for line in view.unscored)]
