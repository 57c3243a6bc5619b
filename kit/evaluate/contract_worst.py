"""The types of `worst_at_k` in `scores.json`: the worst of several answers to a prompt."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_metrics import Difference, Severities
from kit.evaluate.contract_parts import Count, Estimate, Outcome, closed


@closed
class WorstOf(TypedDict):
    """The expected worst of k answers."""

    k: Count
    base: Estimate
    tuned: Estimate
    difference: Difference
    """Paired by prompt; tested at the last k only."""


@closed
class WorstMetric(TypedDict):
    """A metric on every answer that was drawn to a prompt."""

    name: str
    label: str
    kind: Literal["rate", "score"]
    """`rate`: every answer scores 0 or 1, so that a figure is the share of prompts whose worst is 1, or 0."""
    higher_is_better: bool
    n: Count
    """Prompts all of whose answers, of both systems, were scored."""
    groups: Count
    at: list[WorstOf]
    """k = 1, 2, … up to the number of answers; k = 1 is the mean of them all."""
    verdict: Outcome
    """Of the last k."""


@closed
class WorstUnscored(TypedDict):
    """A metric that single answers have no score of, or no prompt was scored by."""

    name: str
    label: str
    why: str


@closed
class Drawn(TypedDict):
    """How many of one system's answers, over all prompts, could not be used."""

    n: Count
    invalid: Count
    reasons: dict[str, int]


@closed
class DrawnBySystem(TypedDict):
    """All answers that were drawn."""

    base: Drawn
    tuned: Drawn


@closed
class Further(TypedDict):
    """The first of each system's answers, counted from 0, that is not the one of a decoding."""

    base: Count
    tuned: Count


@closed
class WorstAtK(TypedDict):
    """Of several sampled answers to each prompt, the expected worst of k."""

    answers: Count
    """How many each system gave to each prompt."""
    validity: DrawnBySystem
    metrics: list[WorstMetric]
    unscored: list[WorstUnscored]
    further: Further
    severities: dict[str, Severities]
    """Metric that judges by rules -> how many of the further answers break one of each severity."""


@closed
class DrawnAnswer(TypedDict):
    """One of several sampled answers to a prompt."""

    output: str
    scores: dict[str, float | None]
    """Metric -> item; null where it does not apply."""
    details: dict[str, list[str]]
    """Metric -> why the item failed, in words or rule codes."""
    invalid: str | None
    """Why the answer could not be used."""


@closed
class DrawnAnswers(TypedDict):
    """All of them, the first one first."""

    base: list[DrawnAnswer]
    tuned: list[DrawnAnswer]
