"""The fields of `labour` in `report.json`: a cost model's answer, and no measurement."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_parts import Count, Estimate, Share, closed


@closed
class Range(TypedDict):
    """Lowest, likeliest, highest."""

    low: float
    best: float
    high: float


@closed
class Contained(TypedDict):
    """The share of contacts that need no person, as the test set measured it."""

    metric: str
    label: str
    n: Count
    groups: Count
    confidence: Share
    base: Range
    tuned: Range


@closed
class Figure(TypedDict):
    """A figure with all inputs at their best, and its ends over every corner of the ranges."""

    estimate: float
    low: float
    high: float


@closed
class Costs(TypedDict):
    """Without a model, with base, with tuned."""

    people: Figure
    base: Figure
    tuned: Figure


@closed
class Swing(TypedDict):
    """How far the saving moves with one input alone."""

    input: str
    measured: bool
    low: float
    high: float
    at_low: float
    at_high: float
    swing: float


@closed
class _Labour(TypedDict):
    basis: Literal["modelled"]
    currency: str
    saving: Estimate | None
    """1 - tuned / base of the costs; null where it could not be modelled."""
    tornado: list[Swing]
    why: str
    """Why it could not be modelled."""


@closed
class Labour(_Labour, total=False):
    """Labour cost by the assumptions that the project types."""

    contained: Contained
    assumptions: dict[str, Range]
    per_contact: Costs
    per_month: Costs
    saving_against_people: Estimate
