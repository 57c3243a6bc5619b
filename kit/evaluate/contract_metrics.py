"""The types of a metric's entry in `scores.json`: base against tuned on the same prompts."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_parts import Count, Decoding, Estimate, Outcome, Share, closed
from kit.hooks import About


@closed
class Difference(Estimate):
    """Tuned minus base, paired."""

    p_value: float | None
    """Two-sided; null where nothing was tested."""
    adjusted_p: NotRequired[float]
    """Holm's over several systems that are compared with one reference."""


@closed
class SliceDifference(Difference):
    """Tuned minus base on a slice."""

    q_value: float | None
    """Benjamini–Hochberg's over all tested slices of a decoding."""


@closed
class Reduction(TypedDict):
    """1 - tuned / base of a rate where lower is better."""

    estimate: float
    low: float
    high: float
    at_least: bool
    """No tuned answer had the fault, so that only the low end says something."""
    method: str


@closed
class SystemCounts(TypedDict):
    """For each system, how many answers a reason was found in; the commonest reasons."""

    base: dict[str, int]
    tuned: dict[str, int]


@closed
class Broken(TypedDict):
    """How many answers of one system break a rule of a severity or a worse one."""

    n: Count
    """Answers to prompts that such a rule applies to."""
    groups: Count
    found: Count
    rules: dict[str, int]
    """Rule id -> answers."""


@closed
class BrokenBySystem(TypedDict):
    """One severity."""

    base: Broken
    tuned: Broken


@closed
class Severities(TypedDict):
    """Of metrics that judge by the policy's rules."""

    critical: BrokenBySystem
    major: BrokenBySystem
    minor: BrokenBySystem


@closed
class Slice(TypedDict):
    """A metric on the prompts that share a value of a column."""

    column: str
    value: str
    tested: bool
    """Whether there were groups of prompts enough to test it."""
    n: Count
    groups: Count
    base: Estimate
    tuned: Estimate
    difference: SliceDifference
    reduction: Reduction | None
    verdict: Outcome


@closed
class StillFaultless(TypedDict):
    """Conversations with one system at one turn."""

    at_risk: Count
    """Those that were scored at this turn and had no fault before it."""
    first: Count
    """Those of them whose first fault is here."""
    estimate: Share
    """The share that is without a fault up to and with this turn (Kaplan–Meier)."""
    low: Share
    high: Share


@closed
class Turn(TypedDict):
    """One turn of the conversations that were scored at more than one."""

    turn: Count
    base: StillFaultless
    tuned: StillFaultless


@closed
class Axis(TypedDict):
    """The points of rubrics' criteria of one axis; shown, not tested."""

    axis: str
    n: Count
    """Prompts whose rubric has points above 0 on it."""
    groups: Count
    base: Estimate
    tuned: Estimate
    difference: Difference


@closed
class Trivial(TypedDict):
    """A trivial system beside the two; all null where it has no figure."""

    estimate: float | None
    low: float | None
    high: float | None
    method: str
    n: Count
    difference: Difference
    """Tuned minus this one, paired."""
    verdict: Outcome
    why: str
    """Why it has no figure."""


@closed
class Metric(TypedDict):
    """A metric under one decoding: base against tuned on the same prompts."""

    name: str
    label: str
    """For people."""
    kind: Literal["rate", "score"]
    """`rate`: every item is 0 or 1."""
    higher_is_better: bool
    of_sums: bool
    """The figure is no mean of items but made from counts that are added up over prompts."""
    decoding: Decoding
    n: Count
    """Prompts that both systems were scored on."""
    groups: Count
    """The independent groups that these prompts form."""
    base: Estimate
    tuned: Estimate
    difference: Difference
    reduction: Reduction | None
    ratio: Estimate | None
    """base / tuned, of times."""
    verdict: Outcome
    slices: list[Slice]
    details: SystemCounts
    severities: Severities | None
    baselines: dict[str, Trivial]
    """Trivial systems; empty beside sampled scores, of general sets and of a judge."""
    about: About
    """What it is a sign of: safety is kept apart from agreement with the reference."""
    by_group: dict[str, Any] | None
    """The comparison once more with the group as the unit, where prompts share groups."""
    harm: dict[str, str] | None
    """What the policy calls each severity."""
    axes: NotRequired[list[Axis]]
    """Of rubrics, where criteria name an axis."""
    turns: NotRequired[list[Turn]]
    """Of rates, where the turns of a conversation are prompts of their own."""
