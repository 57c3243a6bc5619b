"""What a report shows of response times and of labour cost, as words."""

from dataclasses import dataclass

from kit.report.view_evidence import Figure


@dataclass(frozen=True)
class LoadRow:
    """One system with so many requests served at once."""

    concurrency: str
    system: str
    requests: str
    """How many were sent, and how many of them failed."""
    requests_per_second: str
    tokens_per_second: str
    first_token: str
    per_token: str
    goodput: str
    """Requests a second within the limits; empty where no limits are set."""
    batching: str


@dataclass(frozen=True)
class Load:
    """Throughput and goodput by concurrency."""

    rows: list[LoadRow]
    limits: str
    """What a good answer is; empty where no limits are set."""
    gains: list[str]
    """A sentence a concurrency: the gain against base one at a time, taken apart."""
    how: str


@dataclass(frozen=True)
class Latency:
    """Response time, one prompt at a time, and what a server of several would deliver."""

    rows: list[tuple[str, str, str]]
    """What was measured, base, tuned."""
    sentence: str
    how: str
    """On which prompts, and in which order base and tuned were timed."""
    percentiles: str
    """How many prompts the percentiles take that are not shown; empty where all are."""
    parts: list[tuple[str, str, str]]
    """The speed-up as a product: the part, its factor, what it was measured on. Empty where none is shown."""
    origin: str
    """What a speed-up can come from, and what it came from here."""
    plot: Figure | None
    plot_note: str
    load: Load | None


@dataclass(frozen=True)
class TornadoRow:
    """One input of the cost model moved alone."""

    input: str
    measured: bool
    low: str
    high: str
    at_low: str
    at_high: str
    swing: str


@dataclass(frozen=True)
class LabourCost:
    """The cost model of labour: modelled, never measured."""

    sentence: str
    contained: str
    """Where the contained share comes from."""
    costs: list[tuple[str, str, str]]
    """Who answers, a contact's cost, a month's cost."""
    assumptions: list[tuple[str, str, str, str]]
    """What was typed: input, low, best, high."""
    tornado: list[TornadoRow]
    plot: Figure | None
