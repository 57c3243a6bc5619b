"""The part of a view on the worst of several answers to a prompt.

As in `view.py`, numbers are words already, and text from data and models is still raw.
"""

from dataclasses import dataclass

from kit.report.formatting import BothSystems
from kit.report.view_evidence import Figure


@dataclass(frozen=True)
class WorstRow(BothSystems):
    """Both systems at one k."""

    k: str


@dataclass(frozen=True)
class LowAnswer:
    """The worst of a prompt's answers, of the system that is held against the other."""

    id: str
    heading: str
    prompt: str
    """The whole prompt, where the heading does not hold it."""
    output: str
    left_out: str
    """How many characters are not shown; empty where all are."""
    score: str
    """Which answer it is, what it scores, and the mean of all to the prompt."""
    reasons: list[str]


@dataclass(frozen=True)
class WorstCard:
    """One metric: its curve over k, and the answers that lie lowest."""

    label: str
    better: str
    n: str
    meaning: str
    """What a figure of the curve is."""
    rows: list[WorstRow]
    """k = 1, 2, … up to the number of answers."""
    p: str
    verdict: str
    """Of the last row; empty where nothing may rest on it."""
    warning: str
    """What stands in red beside the figures; empty where nothing does."""
    curve: Figure
    lowest: list[LowAnswer]


@dataclass(frozen=True)
class WorstView:
    """The whole section."""

    answers: str
    note: str
    invalid: str
    """How many of the answers could not be used."""
    cards: list[WorstCard]
    unscored: list[str]
