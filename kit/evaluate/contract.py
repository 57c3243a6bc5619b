"""The fields of `scores.json`, defined once: the published JSON Schema is made from these types.

A field that is added, renamed or taken away raises `SCHEMA`; a test compares the published schema with
these types, and real files with the schema.
"""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_parts import Count, Decoding, Estimate, Outcome, Share, closed
from kit.evaluate.contract_speed import Latency, TimedAlone
from kit.evaluate.leaks import Leak
from kit.hooks import About

SCHEMA = 3
"""The number of the schema of `scores.json` and `report.json`, in their field `schema`."""


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


@closed
class Kept(Metric):
    """A metric on a general set, greedy."""

    kept: Literal["kept", "lost", "not shown"]
    """Whether a loss of the set's margin is ruled out."""


@closed
class Unscored(TypedDict):
    """A metric that no pair of answers could be scored on."""

    name: str
    label: str
    decoding: Decoding
    why: str


@closed
class Conditions(TypedDict):
    """What both systems were asked under."""

    base: dict[str, Any]
    tuned: dict[str, Any]
    mismatches: list[str]
    """Each condition that differs and must not, in words."""


@closed
class Invalid(TypedDict):
    """Answers of one system that could not be used."""

    n: Count
    invalid: Count
    reasons: dict[str, int]


@closed
class InvalidBySystem(TypedDict):
    """Under one decoding."""

    base: Invalid
    tuned: Invalid


@closed
class General(TypedDict):
    """Base and tuned on a set outside the case."""

    name: str
    path: str
    prompts: Count
    margin: float
    """The loss that would be too much."""
    invalid: dict[str, Count]
    """How many answers of each system could not be used; empty where a harness asked."""
    metrics: list[Kept]
    unscored: list[Unscored]


@closed
class WithoutLeaks(TypedDict):
    """What depends on the prompts, made from those that did not leak."""

    prompts: Count
    groups: Count
    validity: dict[Decoding, InvalidBySystem]
    minimum_detectable_effect: float | None
    metrics: list[Metric]
    unscored: list[Unscored]
    latency: TimedAlone | None


@closed
class Compared(TypedDict):
    """What two systems on the same prompts come to, whether a run's or made elsewhere."""

    schema: Literal[3]
    systems: dict[str, str]
    """What base and tuned are called."""
    evaluation: str
    run: str
    data: str
    """The fingerprint of the prepared data."""
    kit_version: str
    """The casekit that made the scores."""
    synthetic: bool
    """Whether any prompt was made from a grammar."""
    model: str
    """The base model, as the settings name it."""
    conditions: Conditions
    prompts: Count
    groups: Count
    seeds: Count
    confidence: Share
    validity: dict[Decoding, InvalidBySystem]
    minimum_detectable_effect: float | None
    metrics: list[Metric]
    unscored: list[Unscored]
    judge: dict[str, Any] | None
    """What a judge says, and how far it agrees with people; null without one."""
    calibration: list[dict[str, Any]]
    """How sure the models are, and how often they are right, for each metric asked about."""
    general: list[General]
    latency: Latency | None
    leaks: list[Leak] | None
    """Test prompts that stand in training rows; null where those were not at hand."""
    without_leaks: WithoutLeaks | None
    """Null where nothing leaked."""


@closed
class Head(Compared):
    """What `scores.json` and `report.json` share."""

    synthetic_share: Share
    definitions: dict[str, str]
    """Metric -> a hash of what its scores mean: parameters, policy, hooks, method."""


@closed
class Scored(TypedDict):
    """One answer."""

    output: str
    scores: dict[str, float | None]
    """Metric -> item; null where it does not apply."""
    details: dict[str, list[str]]
    """Metric -> why the item failed, in words or rule codes."""
    counts: dict[str, list[float] | None]
    """Metric made from sums -> what the answer adds to them."""
    invalid: str | None
    """Why the answer could not be used."""


@closed
class ScoredBySystem(TypedDict):
    """Both answers to a prompt under one decoding."""

    base: Scored
    tuned: Scored


@closed
class _Item(TypedDict):
    id: str
    """The first 16 hex digits of the sha256 of the dialogue."""
    prompt: str
    """The last user message."""
    answer: str
    """The reference answer."""
    slices: dict[str, str]
    group: str
    greedy: ScoredBySystem


@closed
class Item(_Item, total=False):
    """One held-out prompt with its answers."""

    sampled: ScoredBySystem
    judge: dict[str, str | None]
    """What a judge said of it; where there is one."""


@closed
class Scores(Head):
    """`evaluations/<id>/scores.json`: base against tuned on the same held-out prompts."""

    items: list[Item]
