"""The fields of what `casekit compare` writes, defined once: it has no run, and need have no gate."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract import Compared, Item
from kit.evaluate.contract_metrics import Difference
from kit.evaluate.contract_parts import Count, Decoding, Estimate, Outcome, closed
from kit.report.contract_judged import Judged


@closed
class PairVerdict(TypedDict):
    """What the gates say; `compared` where none is set."""

    status: Literal["passed", "failed", "not enough evidence", "invalid", "compared"]
    exit_code: Literal[0, 1, 3, 4]
    """What the command exits with."""
    sentence: str


@closed
class Answers(TypedDict):
    """The answers of one system."""

    name: str
    sha256: str
    """Over prompts and answers in the order of their ids."""


@closed
class Pair(Compared):
    """What the two files of a comparison share: `base` is the reference; `run` and `data` are empty."""

    given: bool
    """Answers were made elsewhere, so that nobody knows how they were drawn."""
    answers: list[Answers]
    left_out: dict[str, list[str]]
    """System -> the ids of its answers to prompts that not every system answered."""
    notices: list[str]
    """Sentences to read before any number."""


@closed
class ComparisonScores(Pair):
    """`scores.json` of a comparison of two systems."""

    items: list[Item]


@closed
class Comparison(Pair, Judged):
    """`report.json` of a comparison of two systems: the scores without their items, judged."""

    files: dict[str, str]
    """System -> the sha256 of its file."""
    verdict: PairVerdict


@closed
class PairMetric(TypedDict):
    """A metric of one pair."""

    name: str
    label: str
    kind: Literal["rate", "score"]
    higher_is_better: bool
    decoding: Decoding
    n: Count
    base: Estimate
    tuned: Estimate
    difference: Difference
    verdict: Outcome


@closed
class PairSummary(TypedDict):
    """One system held against the reference; its own `report.json` has all of it."""

    system: str
    folder: str
    verdict: PairVerdict
    metrics: list[PairMetric]


@closed
class Family(TypedDict):
    """`report.json` above the folders of several comparisons with one reference."""

    schema: Literal[4]
    kit_version: str
    reference: str
    prompts: Count
    confidence: float
    left_out: dict[str, list[str]]
    files: dict[str, str]
    """System -> the sha256 of its file."""
    pairs: list[PairSummary]
    verdict: PairVerdict
    """The worst of all."""
