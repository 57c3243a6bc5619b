"""The fields of `scores.json`, defined once: the published JSON Schema is made from these types.

A field that is added, renamed or taken away raises `SCHEMA`; a test compares the published schema with
these types, and real files with the schema.
"""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_judge import Calibration, Judge, Said
from kit.evaluate.contract_metrics import Metric
from kit.evaluate.contract_parts import Count, Decoding, Share, closed
from kit.evaluate.contract_speed import Latency, TimedAlone
from kit.evaluate.contract_worst import DrawnAnswers, WorstAtK
from kit.evaluate.leaks import Leak

SCHEMA = 4
"""The number of the schema of `scores.json` and `report.json`, in their field `schema`."""


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
    worst_at_k: NotRequired[WorstAtK]
    judge: Judge | None
    """The judge's figures on the prompts that are left; null without one."""
    latency: TimedAlone | None


@closed
class Compared(TypedDict):
    """What two systems on the same prompts come to, whether a run's or made elsewhere."""

    schema: Literal[4]
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
    worst_at_k: NotRequired[WorstAtK]
    """Where several sampled answers a prompt were drawn."""
    judge: Judge | None
    """What a judge says, and how far it agrees with people; null without one."""
    calibration: list[Calibration]
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

    date: str
    """The day of the evaluation, YYYY-MM-DD in UTC."""
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
class Nearest(TypedDict):
    """The training prompt that a test prompt is most like."""

    where: str
    """`file:line`."""
    similarity: float
    """Jaccard index of the four-letter pieces of all turns, 0 to 1."""
    prompt: str
    """What is asked there last; personal data and long texts are shortened."""
    answer: str


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
    nearest: Nearest | None
    """Null where no training rows are known, or none asks anything."""
    greedy: ScoredBySystem


@closed
class Item(_Item, total=False):
    """One held-out prompt with its answers."""

    sampled: ScoredBySystem
    drawn: DrawnAnswers
    """Every sampled answer; where several a prompt were drawn."""
    judge: Said
    """What a judge said of it; where there is one."""


@closed
class Scores(Head):
    """`evaluations/<id>/scores.json`: base against tuned on the same held-out prompts."""

    items: list[Item]
