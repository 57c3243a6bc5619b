"""The rubric of a row: criteria with points, and the share of the points that an answer earns.

As HealthBench has it (OpenAI 2025, arXiv:2505.08775): the points of the criteria that an answer meets, by all
points above 0. Points below 0 are for faults, so that an answer's share may be below 0; it is the mean over
answers that is held within 0 and 1.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.evaluate.statistics import Floats

WANTED, FAULT = "above 0", "below 0"
"""What the points of a criterion are."""


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric that a judge is asked about."""

    text: str
    points: float
    axis: str

    @property
    def sign(self) -> str:
        """Whether it is wanted or a fault: a judge may err otherwise with the one than with the other."""
        return WANTED if self.points > 0 else FAULT

    def reason(self, met: bool) -> str:
        """What it takes from an answer, for people; empty where it takes nothing."""
        return "" if met == (self.points > 0) else told(self.points, self.axis, self.text)


def told(points: float, axis: str, name: str) -> str:
    """A criterion that was missed, or a fault that was found, in a line."""
    return f"{'missed' if points > 0 else 'fault'}: {axis + ', ' if axis else ''}{name}"


def share_earned(scored: Iterable[tuple[float, bool]]) -> float:
    """The share of a rubric's points that an answer earns, at most 1 and maybe below 0.

    Args:
        scored: of each criterion its points, and whether it is met; one at least has points above 0.
    """
    earned = due = 0.0
    for points, met in scored:
        earned, due = earned + points * met, due + max(points, 0.0)
    return earned / due


def shares_by_axis(scored: Iterable[tuple[str, float, bool]]) -> dict[str, float]:
    """An answer's share of the points of every axis that has points above 0.

    Args:
        scored: of each criterion its axis (empty where it names none), its points, and whether it is met.
    """
    of_axis: dict[str, list[tuple[float, bool]]] = {}
    for axis, points, met in scored:
        of_axis.setdefault(axis, []).append((points, met))
    return {
        axis: share_earned(criteria)
        for axis, criteria in of_axis.items()
        if axis and any(points > 0 for points, _ in criteria)
    }


def mean_held(sums: Floats) -> Floats:
    """The mean share, held within 0 and 1: (..., [added-up shares, answers]) -> (...)."""
    clipped: Floats = np.clip(sums[..., 0] / np.maximum(sums[..., 1], 1), 0.0, 1.0)
    return clipped


def has_points(criterion: Any) -> bool:
    """Whether a criterion has points, not 0, that can be added up: JSON as Python reads it knows NaN."""
    points = criterion.get("points") if isinstance(criterion, dict) else None
    if not isinstance(points, int | float) or isinstance(points, bool):
        return False
    return points != 0 and math.isfinite(points)


def criteria_of(rubric: Any) -> list[Criterion]:
    """A row's rubric as criteria to ask a judge about; none without a rubric.

    Raises:
        ValueError: what is wrong with it.
    """
    if not rubric:
        return []
    lines = rubric if isinstance(rubric, list) else [rubric]
    for line in lines:
        if not has_points(line) or not _text(line):
            raise ValueError(
                f"a criterion of `rubric` has `points`, not 0, and `criterion` (or `name`), a text to judge "
                f"by; found {line!r:.80}"
            )
    if not any(line["points"] > 0 for line in lines):
        raise ValueError("no criterion of `rubric` has points above 0")
    found = [Criterion(_text(line), float(line["points"]), str(line.get("axis") or "")) for line in lines]
    if len({one.text for one in found}) < len(found):
        raise ValueError("two criteria of `rubric` have the same text")
    return found


def _text(line: dict[str, Any]) -> str:
    return str(line.get("criterion") or line.get("name") or "").strip()
