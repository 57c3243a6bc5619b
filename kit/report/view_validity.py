"""What a report shows of trivial baselines and leaks; words already, as all of `View`."""

from dataclasses import dataclass

from kit.report.formatting import BothSystems


@dataclass(frozen=True)
class BaselineCell:
    """One trivial baseline on one metric."""

    name: str
    value: str
    interval: str
    beaten: bool
    """Whether tuned is shown to be better."""
    why: str
    """Why there is no figure; else empty."""


@dataclass(frozen=True)
class BaselineRow:
    """One metric: tuned, and the trivial baselines beside it."""

    label: str
    better: str
    counts: bool
    """Whether a gate or claim looks at it."""
    tuned: str
    tuned_interval: str
    cells: list[BaselineCell]
    verdict: str
    """`improved` where tuned is shown to be better than all of them, `worse` where worse than one."""


@dataclass(frozen=True)
class LeakRow:
    """A test prompt that stands in the training rows."""

    kind: str
    test: str
    test_text: str
    train: str
    train_text: str
    how: str
    """The words that differ, or the run that both have."""


@dataclass(frozen=True)
class LeakScore(BothSystems):
    """One metric on all prompts, or without the leaked ones."""

    label: str
    prompts: str
    """`all prompts` or `without leaks`."""
    n: str
    verdict: str


@dataclass(frozen=True)
class Leaks:
    """What was found of the test prompts in the training rows."""

    sentence: str
    """How many, of which kinds; or why nothing was looked for."""
    change: str
    """What the leaks change in gates and verdict; empty where nothing leaked."""
    rows: list[LeakRow]
    left_out: str
    """How many are not shown; empty where all are."""
    scores: list[LeakScore]
    """Two a metric, where something leaked."""
