"""Everything a report shows, built once: the page, the Markdown and the model card read only this.

Numbers are already words here (`formatting.py`), so that no two faces can disagree. Text that came
from data or models is still raw: each face escapes it for its own format.
"""

from dataclasses import dataclass, field
from typing import Literal

from kit.evaluate.naming import Names
from kit.report.calibration import CalibrationCard
from kit.report.harm import HarmRow
from kit.report.judge import JudgeCard
from kit.report.view_evidence import Figure, MaskAudit, Misses, PairView, Transcripts, TurnTable
from kit.report.view_release import BaselineView, ReviewsView
from kit.report.view_speed import LabourCost, Latency
from kit.report.view_validity import BaselineRow, Leaks

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
class ScoreRow:
    """One metric, base against tuned, under one decoding."""

    label: str
    name: str
    better: str
    n: str
    base: str
    base_interval: str
    tuned: str
    tuned_interval: str
    difference: str
    difference_interval: str
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
class SourceRow:
    """Where rows came from."""

    name: str
    format: str
    rows: str
    synthetic: bool
    sha256: str


@dataclass(frozen=True)
class CheckRow:
    """One data check: what it looks for and how many rows it met."""

    name: str
    what: str
    severity: str
    count: str


@dataclass(frozen=True)
class DataCard:
    """The data the model was tuned and tested on."""

    fingerprint: str
    sources: list[SourceRow]
    checks: list[CheckRow]
    facts: list[tuple[str, str]]
    mask: MaskAudit


@dataclass(frozen=True)
class Training:
    """How the model was tuned, in its last stage or the only one."""

    title: str
    """The stage and its place, where there are several; else empty."""
    facts: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    findings: list[str]
    loss: Figure | None
    losses: list[tuple[str, str, str]]
    """Step, training loss and what watching found there; evenly chosen where the steps are many."""
    losses_note: str
    task_score: Figure | None
    task_legend: str
    checkpoints: list[tuple[str, str, str]]
    """Step, validation loss and task score of every evaluation."""
    earlier: "list[Training]" = field(default_factory=list)
    """The stages before, in their order."""

    @property
    def stages(self) -> "list[Training]":
        """All stages in their order."""
        return [*self.earlier, self]


@dataclass(frozen=True)
class Conditions:
    """The settings both systems were asked under; a mismatch makes the comparison void."""

    rows: list[tuple[str, str, str]]
    """Setting, base, tuned."""
    mismatches: list[str]
    environment: list[tuple[str, str]]
    hashes: list[tuple[str, str]]


@dataclass(frozen=True)
class View:
    """The whole report."""

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
    seed_rows: list[SeedRow]
    power: str
    synthetic: bool
    tiny: bool
    notices: list[str]
    verdict: Verdict
    gates: list[GateRow]
    dropped_gates: list[DroppedGate]
    earlier: list[EarlierVerdict]
    claims: list[ClaimRow]
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
    leaks: Leaks
    pairs: list[PairView]
    slices: list[SliceTable]
    worst_slices: list[SliceRow]
    failures: list[FailureRow]
    harm: list[HarmRow]
    """Answers by the worst rule that they break."""
    transcripts: Transcripts
    reviews: ReviewsView | None
    baseline: BaselineView | None
    misses: Misses
    validity: list[ValidityRow]
    judge: JudgeCard | None
    calibration: list[CalibrationCard]
    general: list[GeneralRow]
    general_unscored: list[str]
    data: DataCard | None
    training: Training | None
    latency: Latency | None
    labour: LabourCost | None
    conditions: Conditions
    not_for: list[str]
    limits: list[str]
    card_metrics: list["CardMetric"]


@dataclass(frozen=True)
class CardMetric:
    """A metric for the model card's machine-readable index: the tuned model's greedy score."""

    name: str
    label: str
    value: float
    text: str
