"""What a report shows of where its results came from: the data, the training, the conditions.

Numbers are already words here, as in `kit.report.view`.
"""

from dataclasses import dataclass, field

from kit.report.view_evidence import Figure, MaskAudit


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
