"""The judge beside people's labels: whether there are enough of them, and how far both agree."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kit.config.schema_judge import Rubric
from kit.evaluate.agreement import LabelCounts, accuracy, count_labels, kappa_interval
from kit.evaluate.compare import Settings
from kit.evaluate.judge_labels import Labelled
from kit.evaluate.rubric import UNPARSABLE
from kit.evaluate.timing import SYSTEMS

FEWEST_LABELS = 100
"""Groups of prompts with labelled answers of each system: answers to one group are one witness. With fewer a
judge is not calibrated."""


def calibration_of(
    rubric: Rubric,
    rows: Sequence[Labelled],
    left_out: int,
    named: bool,
    settings: Settings,
    labels_of: str = "answers",
) -> dict[str, Any]:
    """The judge beside people's labels: over all, by system, by slice.

    Args:
        rubric: by which both judged.
        left_out: labels that could not be used.
        named: whether the settings name labels.
        labels_of: what people label, for `why`.
    """
    numbers = {system: sum(row.system == system for row in rows) for system in SYSTEMS}
    groups = {system: len({row.group for row in rows if row.system == system}) for system in SYSTEMS}
    thin = [f"{groups[system]} of {system}" for system in SYSTEMS if groups[system] < FEWEST_LABELS]
    why = ""
    if not named:
        why = f"no {labels_of} labelled by people are named in `evaluate.judge.labels`"
    elif thin:
        why = (
            f"it takes labelled {labels_of} of each system to {FEWEST_LABELS} groups of prompts, and "
            f"there are {' and '.join(thin)}"
        )
    parts = [("all", "", list(rows))] if rows else []
    parts += [("system", s, [row for row in rows if row.system == s]) for s in SYSTEMS if numbers[s]]
    for column, value in sorted({pair for row in rows for pair in row.slices.items()}):
        parts.append((column, value, [row for row in rows if row.slices.get(column) == value]))
    return {
        "status": "not calibrated" if why else "calibrated",
        "why": why,
        "labelled": {"n": len(rows), **numbers, "left_out": left_out},
        "parts": [
            {"column": column, "value": value, **_agreement(part, rubric, settings)}
            for column, value, part in parts
        ],
    }


def label_counts(rows: Sequence[Labelled], rubric: Rubric) -> LabelCounts:
    """People's faults and the judge's; a reply that could not be read found no fault."""
    return count_labels(
        [rubric.is_fault(row.label) for row in rows],
        [finds_fault(rubric, row.verdict) for row in rows],
        [row.group for row in rows],
    )


def finds_fault(rubric: Rubric, verdict: str | None) -> bool:
    """Whether a verdict was given, could be read, and finds fault."""
    return verdict not in (None, UNPARSABLE) and rubric.is_fault(str(verdict))


def _agreement(rows: Sequence[Labelled], rubric: Rubric, settings: Settings) -> dict[str, Any]:
    """Confusion matrix, agreement, kappa, sensitivity and specificity over some labelled answers."""
    names = [*rubric.verdicts, UNPARSABLE]
    counts = Counter((row.label, row.verdict) for row in rows)
    # Between grades and `unparsable` there is no distance: weighted kappa is of the replies that were read.
    compared = [row for row in rows if row.verdict != UNPARSABLE] if rubric.scale else rows
    kappa: dict[str, Any] = {"estimate": None, "low": None, "high": None, "method": "no reply could be read"}
    if compared:
        kappa = kappa_interval(
            [(names.index(row.label), names.index(row.verdict)) for row in compared],
            [row.group for row in compared],
            len(names),
            "quadratic" if rubric.scale else "none",
            draws=settings.draws,
            confidence=settings.confidence,
            seed=settings.seed,
        )
    return {
        "n": len(rows),
        "groups": len({row.group for row in rows}),
        "matrix": {
            label: {name: counts[label, name] for name in names if counts[label, name]}
            for label in rubric.verdicts
        },
        "unparsable": sum(row.verdict == UNPARSABLE for row in rows),
        "agreement": sum(row.label == row.verdict for row in rows) / len(rows),
        "kappa": kappa,
        **accuracy(
            label_counts(rows, rubric),
            draws=settings.draws,
            confidence=settings.confidence,
            seed=settings.seed,
        ),
    }
