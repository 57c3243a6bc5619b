"""The fields of `judge` and `calibration` in `scores.json`."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_metrics import Difference, Metric, Reduction
from kit.evaluate.contract_parts import Count, Estimate, Outcome, Share, closed
from kit.evaluate.contract_worst import WorstMetric


@closed
class Contrast(TypedDict):
    """Base against tuned, without what a metric has besides."""

    n: Count
    groups: Count
    base: Estimate
    tuned: Estimate
    difference: Difference
    reduction: Reduction | None
    verdict: Outcome


@closed
class AskedRubric(TypedDict):
    """What the judge was asked, as `evaluate.judge.rubric` sets it."""

    question: str
    criteria: list[str]
    labels: list[str]
    good: list[str]
    scale: list[int]
    good_from: int | None
    verdicts: list[str]
    """Every verdict the judge may give, grades as text."""


@closed
class Verdicts(TypedDict):
    """The verdicts on one system's answers."""

    n: Count
    invalid: Count
    """Answers that could not be used: faults that nobody asked about."""
    counts: dict[str, Count]
    """Verdict -> answers; `unparsable` among them."""
    repeated: Count
    """Answers that were asked about more than once."""
    changed: Count
    """Those of them whose verdicts differ."""


@closed
class VerdictsBySystem(TypedDict):
    """Under the judge's decoding."""

    base: Verdicts
    tuned: Verdicts


@closed
class Preferences(TypedDict):
    """Which of both answers was preferred, in both orders."""

    n: Count
    asked: Count
    tuned: Count
    base: Count
    tie: Count
    changed_with_order: Count
    unparsable: Count
    first_preferred: Count
    second_preferred: Count
    compared: Contrast | None


@closed
class LabelledAnswers(TypedDict):
    """Answers with people's labels."""

    n: Count
    base: Count
    tuned: Count
    left_out: Count
    """Labels of answers that are not in the evaluation, or are invalid."""


@closed
class Agreement(TypedDict):
    """The judge beside people on some labelled answers."""

    column: str
    """`all`, `system`, or a slice column."""
    value: str
    n: Count
    groups: Count
    matrix: dict[str, dict[str, Count]]
    """People's label -> the judge's verdict -> answers."""
    unparsable: Count
    agreement: Share
    kappa: Estimate
    sensitivity: Estimate | None
    """Of people's faults, the share that the judge finds; null where there is none."""
    specificity: Estimate | None


@closed
class JudgeCalibration(TypedDict):
    """Whether the judge may be relied on."""

    status: Literal["calibrated", "not calibrated"]
    why: str
    labelled: LabelledAnswers
    parts: list[Agreement]


@closed
class Hits(TypedDict):
    """People's faults that the judge finds, and sound answers that it lets pass."""

    faults: Count
    found: Count
    sound: Count
    passed: Count


@closed
class HitsBySystem(TypedDict):
    """What the correction was made from."""

    base: Hits
    tuned: Hits


@closed
class Corrected(TypedDict):
    """The share of faults with the judge's errors taken out."""

    why: str
    """Why there is none; else empty."""
    entry: Metric | None
    labelled: NotRequired[HitsBySystem]


@closed
class RowRubrics(TypedDict):
    """Points of rows' own rubrics that answers earn, as the judge says of each criterion."""

    prompts: Count
    """Those whose row has a rubric."""
    verdicts: VerdictsBySystem
    """Of criteria; `invalid` counts answers that could not be used: they meet nothing."""
    metric: Metric | None
    """The verdicts as they are: points of the criteria met by all above 0, the mean held within 0 and 1."""
    calibration: JudgeCalibration
    """Of labelled criteria; a fault is one that is not met."""
    corrected: Corrected
    """The points with the judge's errors taken out."""
    worst_at_k: NotRequired[WorstMetric | None]
    """Of several sampled answers, where `evaluate.judge.drawn_answers` asks about them; with its errors."""


@closed
class Judge(TypedDict):
    """What a judge says of both systems' greedy answers."""

    model: str
    revision: str | None
    where: str
    """Its address, or `this machine`."""
    rubric: AskedRubric
    decoding: Literal["greedy"]
    verdicts: VerdictsBySystem
    metric: Metric | None
    """The verdicts as they are, as a rate of faults."""
    grades: Contrast | None
    """Of a rubric with a scale: the mean grades."""
    pairwise: Preferences | None
    calibration: JudgeCalibration
    corrected: Corrected
    rubrics: NotRequired[RowRubrics]
    """Where `evaluate.judge.row_rubrics` asks for them."""


@closed
class SaidOfCriterion(TypedDict):
    """What a judge said of one criterion; null of invalid answers."""

    criterion: str
    points: float
    base: str | None
    tuned: str | None


@closed
class Said(TypedDict):
    """What a judge said of the answers to one prompt; null of invalid ones."""

    base: str | None
    tuned: str | None
    pairwise: NotRequired[str]
    criteria: NotRequired[list[SaidOfCriterion]]
    """Of the row's own rubric."""


@closed
class Coverage(TypedDict):
    """Accuracy where only the surest answers are given."""

    share: Share
    """Of the answers that are given."""
    estimate: Share
    low: Share
    high: Share
    method: str
    n: Count


@closed
class Bin(TypedDict):
    """Answers of like confidence."""

    n: Count
    confidence: Share
    accuracy: Share


@closed
class Sureness(TypedDict):
    """One system's confidence and accuracy."""

    confidence: Share
    """The mean."""
    accuracy: Share
    coverage: list[Coverage]
    curve: list[list[float]]
    """[share of answers given, accuracy], the surest first."""
    bins: list[Bin]
    """Of equal mass, by rising confidence."""


@closed
class Calibration(TypedDict):
    """How sure both systems are, and how often they are right by one metric."""

    of: str
    label: str
    n: Count
    base: Sureness
    tuned: Sureness
