"""Trivial baselines and leaks as Markdown; how text is escaped and tables are made comes from `markdown`."""

from kit.report.html import mark
from kit.report.trust_markdown import Escape, Table
from kit.report.view import View

_LEAKS = 5
"""So many are quoted."""


def baselines(view: View, escape: Escape, table: Table) -> list[str]:
    """The trivial baselines beside tuned, as a table; one with a cross is not beaten."""
    if not view.baselines:
        return []
    rows = [
        [
            f"{escape(row.label)} ({row.better})",
            f"{row.tuned} {row.tuned_interval}",
            *("–" if c.why else f"{c.value} {c.interval}{'' if c.beaten else ' ✕'}" for c in row.cells),
            f"{mark(row.verdict)} {row.verdict}" if row.verdict else "–",
        ]
        for row in view.baselines
    ]
    names = [f">{name.lower()}" for name, _ in view.baseline_names]
    tuned = escape(view.names.tuned)
    said = f"Trivial baselines on the same prompts; ✕: {tuned} is not shown to be better."
    parts = ["## Trivial baselines", said, table(["metric", f">{tuned}", *names, "verdict"], rows)]
    return [*parts, *map(escape, view.baselines_left_out)]


def leaks(view: View, escape: Escape, code: Escape, table: Table) -> list[str]:
    """Which test prompts share text with training, and every score with and without them."""
    found = view.leaks
    parts = ["## Leaks from training", escape(f"{found.sentence} {found.change}".strip())]
    if found.scores:
        rows = [
            [
                f"{escape(row.label)}, {row.prompts}",
                row.n,
                f"{row.base} {row.base_interval}",
                f"{row.tuned} {row.tuned_interval}",
                f"{row.difference} {row.difference_interval}",
                row.verdict,
            ]
            for row in found.scores
        ]
        columns = [
            "metric",
            ">n",
            *(f">{escape(name)}" for name in (view.names.base, view.names.tuned)),
            ">difference",
            "verdict",
        ]
        parts.append(table(columns, rows))
    shown = [
        f"- {row.kind}: {code(row.test)} {code(row.test_text)}, {code(row.train)} {code(row.train_text)}"
        for row in found.rows[:_LEAKS]
    ]
    return [*parts, "\n".join(shown)] if shown else parts
