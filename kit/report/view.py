"""Everything a report shows, built once: the page, the Markdown and the model card read only this.

Numbers are already words here (`formatting.py`), so that no two faces can disagree. Text that came
from data or models is still raw: each face escapes it for its own format.
"""

from dataclasses import dataclass
from typing import Literal

from kit.evaluate.naming import Names
from kit.report.axes import AxisTable
from kit.report.calibration import CalibrationCard
from kit.report.formatting import BothSystems
from kit.report.harm import HarmRow
from kit.report.judge import JudgeCard
from kit.report.view_evidence import Figure, Misses, PairView, Transcripts, TurnTable
from kit.report.view_origin import Conditions, DataCard, Training
from kit.report.view_release import BaselineView, ReviewsView
from kit.report.view_speed import LabourCost, Latency
from kit.report.view_validity import BaselineRow, Leaks
from kit.report.view_worst import WorstView

GateStatus = Literal["passed", "failed", "not enough evidence"]
ClaimStatus = Literal["supported", "not supported", "not testable"]
Change = Literal["improved", "worse", "not shown"]


@dataclass(frozen=True)
class Verdict:
    """What the report says, and the exit code that says the same to a shell."""

    status: str
    exit_code: int
    sentence: str


@dataclass(frozen=True)
class GateRow:
    """One gate: what it asks, what was found, and on how much."""

    name: str
    asks: str
    wanted: str
    found: str
    found_interval: str
    n: str
    groups: str
    """How many groups the prompts form, which is what the gate counts; empty where each is its own."""
    status: str
    because: str
    why: str
    """What evidence is missing, or that the interval reaches past the threshold; else empty."""
    slice: str
    """The worst value of the slice column it asks for; empty for other gates."""


@dataclass(frozen=True)
class ClaimRow:
    """One published figure beside what this evaluation found."""

    name: str
    definition: str
    claimed: str
    margin: str
    """How far from the claimed figure still counts; empty where nothing does."""
    found: str
    found_interval: str
    status: str
    source: str
    why: str


@dataclass(frozen=True)
class DroppedGate:
    """A gate of the recipe that the project does not set as the recipe does."""

    name: str
    asks: str
    wanted: str
    now: str
    """`dropped` or `set otherwise`."""


@dataclass(frozen=True)
class EarlierVerdict:
    """What a report said of this evaluation before, and what has changed since."""

    status: str
    exit_code: int
    sentence: str
    changed: str
    gates: list[str]
    """What each gate asked, and what became of it."""


@dataclass(frozen=True)
class ScoreRow(BothSystems):
    """One metric, base against tuned, under one decoding."""

    label: str
    name: str
    better: str
    n: str
    p: str
    relative: str
    """The relative reduction or the speed-up, where one is defined; else empty."""
    methods: str
    verdict: Change


@dataclass(frozen=True)
class ScoreGroup:
    """The metrics of one table that answer the same question, such as whether answers are safe."""

    title: str
    rows: list[ScoreRow]


@dataclass(frozen=True)
class ScoreTable:
    """All metrics under one decoding, by what they are about."""

    decoding: str
    caption: str
    groups: list[ScoreGroup]

    @property
    def rows(self) -> list[ScoreRow]:
        """All rows, in the order of the groups."""
        return [row for group in self.groups for row in group.rows]


@dataclass(frozen=True)
class SeedRow:
    """One metric over runs that differ by the training seed only."""

    label: str
    tuned: str
    """The tuned score of every run."""
    difference: str
    difference_interval: str
    """Over seeds and prompts."""
    by_prompts: str
    by_seeds: str
    """The two parts of the standard error."""


@dataclass(frozen=True)
class SliceRow:
    """One metric on the prompts that share a value of a column."""

    metric: str
    column: str
    value: str
    n: str
    base: str
    tuned: str
    tuned_interval: str
    difference: str
    difference_interval: str
    q: str
    """The q-value over all slices and metrics; an en dash where too few prompts were there to test."""
    verdict: str


@dataclass(frozen=True)
class SliceTable:
    """One metric on all slices, worst first."""

    label: str
    left_out: str
    """How many are not shown, and where they stand; empty where all are."""
    gaps: list[str]
    """How far the best and the worst value of each column are apart."""
    turns: TurnTable | None
    rows: list[SliceRow]
    plot: Figure | None


@dataclass(frozen=True)
class FailureRow:
    """Why answers failed: a rule or reason and how often it was met."""

    metric: str
    reason: str
    title: str
    base: str
    tuned: str


@dataclass(frozen=True)
class ChangeNote:
    """One metric's change as a sentence."""

    label: str
    sentence: str
    verdict: Change


@dataclass(frozen=True)
class ValidityRow:
    """How many answers of one system could not be used, and why."""

    decoding: str
    system: str
    n: str
    invalid: str
    share: str
    reasons: str


@dataclass(frozen=True)
class GeneralRow:
    """One metric on a set outside the case."""

    set: str
    label: str
    n: str
    base: str
    tuned: str
    tuned_interval: str
    difference: str
    difference_interval: str
    kept: Literal["kept", "lost", "not shown"]
    meaning: str


@dataclass(frozen=True)
class CardMetric:
    """A metric for the model card's machine-readable index: the tuned model's greedy score."""

    name: str
    label: str
    value: float
    text: str


@dataclass(frozen=True)
class About:
    """What was compared, of whom, when and under what name."""

    title: str
    names: Names
    """What the two systems are called."""
    summary: str
    project: str
    evaluation: str
    run: str
    """Empty where answers are compared that no run of the project is known to have given."""
    kit_version: str
    date: str
    """When the model was trained, as YYYY-MM-DD; empty where nobody knows."""
    evaluated: str
    """When its answers were evaluated, alike."""
    language: str
    languages: list[str]
    base_model: str
    revision: str
    licence: str
    licence_note: str
    """What is known of the base model's licence, as a sentence."""
    hub_base: str
    """The base model where it is a Hub id; empty for tiny and for folders."""
    method: str
    tuned_by: str
    confidence: str
    prompts: str
    seeds: str
    seeds_note: str
    power: str
    synthetic: bool
    tiny: bool
    not_for: list[str]


@dataclass(frozen=True)
class Judged:
    """What follows from the scores: the verdict, what it rests on, and what a reader must know of it."""

    notices: list[str]
    verdict: Verdict
    gates: list[GateRow]
    dropped_gates: list[DroppedGate]
    earlier: list[EarlierVerdict]
    claims: list[ClaimRow]
    leaks: Leaks
    pairs: list[PairView]
    baseline: BaselineView | None
    labour: LabourCost | None
    limits: list[str]


@dataclass(frozen=True)
class Scored:
    """The scores, by metric, decoding, seed, slice, rule and set."""

    seed_rows: list[SeedRow]
    changes: list[ChangeNote]
    scores: list[ScoreTable]
    score_plot: Figure | None
    methods: list[tuple[str, str]]
    """Metrics, and how their intervals and tests were made."""
    unscored: list[str]
    baselines: list[BaselineRow]
    baseline_names: list[tuple[str, str]]
    """Their columns: name, kind."""
    baselines_left_out: list[str]
    axes: list[AxisTable]
    """Points of rubrics by the axis of their criteria."""
    slices: list[SliceTable]
    worst_slices: list[SliceRow]
    harm: list[HarmRow]
    """Answers by the worst rule that they break."""
    validity: list[ValidityRow]
    worst: WorstView | None
    """Of several sampled answers a prompt."""
    judge: JudgeCard | None
    calibration: list[CalibrationCard]
    general: list[GeneralRow]
    general_unscored: list[str]
    latency: Latency | None
    card_metrics: list[CardMetric]


@dataclass(frozen=True)
class Evidence:
    """Answers to read, and the data, the training and the conditions that they came from."""

    failures: list[FailureRow]
    transcripts: Transcripts
    reviews: ReviewsView | None
    misses: Misses
    data: DataCard | None
    training: Training | None
    conditions: Conditions


@dataclass(frozen=True)
class View(About, Judged, Scored, Evidence):
    """The whole report."""
