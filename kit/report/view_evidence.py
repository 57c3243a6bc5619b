"""The parts of a view that show single answers: what changed word by word, what was missed, what was learned.

As in `view.py`, numbers are words already, and text from data and models is still raw.
"""

from dataclasses import dataclass
from typing import Literal

from kit.report.formatting import BothSystems

PieceKind = Literal["same", "removed", "added"]


@dataclass(frozen=True)
class Figure:
    """A plot as inline SVG, drawn twice: for wide pages and for phones."""

    wide: str
    narrow: str


@dataclass(frozen=True)
class TurnRow:
    """Conversations at one turn; pairs are of base and of tuned."""

    turn: str
    followed: tuple[str, str]
    """Those scored at this turn that had no fault before it."""
    first: tuple[str, str]
    """Those of them whose first fault is here."""
    base: str
    base_interval: str
    tuned: str
    tuned_interval: str


@dataclass(frozen=True)
class TurnTable:
    """One metric over the turns of conversations."""

    label: str
    intro: str
    """What the figures are."""
    rows: list[TurnRow]
    plot: Figure | None


@dataclass(frozen=True)
class PairRow(BothSystems):
    """One metric of a pair, on both systems."""

    label: str
    n: str
    refusing: str
    """What refusing everything scores; empty where it was not scored."""


@dataclass(frozen=True)
class PairView:
    """Two metrics read as one point a system, and whether tuning won on it."""

    title: str
    status: str
    """`win`, `no win` or `not shown`."""
    sentence: str
    margin: str
    """How much the second may rise, and who says so."""
    rows: list[PairRow]
    plot: Figure


@dataclass(frozen=True)
class Piece:
    """Words of an answer that stand in the other answer too, or only in the first or the second of both."""

    text: str
    kind: PieceKind


@dataclass(frozen=True)
class Nearest:
    """The training example whose question is most like a prompt."""

    where: str
    """`file:line`."""
    similarity: str
    """Jaccard index of the questions' pieces of four letters, 0 to 1."""
    prompt: str
    answer: str


@dataclass(frozen=True)
class Mark:
    """How one answer scored on one metric, with the reasons it failed."""

    label: str
    value: str
    good: bool | None
    """True or False for rates; None for scores, which have no right and wrong."""
    reasons: list[str]


@dataclass(frozen=True)
class Side:
    """One system's answer to a prompt."""

    system: str
    output: str
    pieces: list[Piece]
    """`output` cut where it differs from the other answer; empty where nothing is marked."""
    left_out: str
    """How many characters are not shown; empty where all are."""
    invalid: str
    marks: list[Mark]


@dataclass(frozen=True)
class Transcript:
    """A prompt with both answers."""

    id: str
    kind: Literal["regression", "gain"]
    heading: str
    """The prompt on one line, shortened."""
    prompt: str
    """The whole prompt; empty where the heading holds all of it."""
    reference: str
    reference_pieces: list[Piece]
    """`reference` cut where it differs from tuned; empty where base and tuned are held against each other."""
    slices: list[str]
    changed: str
    """Which metrics moved, losses first."""
    difference: str
    """What the marks mean where base and tuned are not held against each other; else empty."""
    nearest: Nearest | None
    base: Side
    tuned: Side


@dataclass(frozen=True)
class Transcripts:
    """The transcripts worth reading, and sentences that say how many there are in all."""

    regressions: list[Transcript]
    regressions_note: str
    gains: list[Transcript]
    gains_note: str
    nearest_note: str
    """What the nearest training examples were looked for in, or why there are none."""


@dataclass(frozen=True)
class Miss:
    """An answer of the tuned model that breaks a critical rule or misses an emergency."""

    id: str
    decoding: str
    heading: str
    prompt: str
    """The whole prompt; empty where the heading holds all of it."""
    output: str
    left_out: str
    """How many characters are not shown; empty where all are."""
    reasons: list[str]
    base: str
    """Whether base missed it too."""
    slices: list[str]
    nearest: Nearest | None


@dataclass(frozen=True)
class Misses:
    """Every safety miss of the tuned model."""

    note: str
    """How many there are, of how many answers; or what the case has no metric for."""
    shown: list[Miss]
    left_out_note: str
    """Why some are only listed; empty where all are shown."""
    listed: list[tuple[str, str, str]]
    """Id, decoding and reasons of those that are not shown."""


@dataclass(frozen=True)
class MaskAudit:
    """Which tokens the model learns from, looked at again when the report is made."""

    note: str
    """What was looked at and found; or why nothing was."""
    facts: list[tuple[str, str]]
    where: str
    """`file:line` of the example; empty without one."""
    example: list[tuple[str, bool]]
    """Its text in runs, each with whether the model learns from it."""
