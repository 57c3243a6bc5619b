"""The fields of `latency` in `scores.json`."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.contract_parts import Count, Estimate, closed


@closed
class Spread(TypedDict):
    """Times over answers, in seconds; null with fewer answers than the percentile needs."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


@closed
class TokenSpread(Spread):
    """Times between the tokens of all answers."""

    n: Count


@closed
class Timed(TypedDict):
    """Times of one system, one prompt at a time."""

    n: Count
    seconds_to_first_token: Spread
    seconds_per_output_token: Spread
    inter_token_seconds: TokenSpread
    seconds: Spread
    tokens_per_second: dict[str, float]
    """The median, `p50`."""
    new_tokens: dict[str, float]
    """The median, `p50`."""


@closed
class Decomposition(TypedDict):
    """The speed-up taken apart: length x per_token x first_token."""

    length: float
    per_token: float
    first_token: float


@closed
class Limits(TypedDict):
    """What still counts as prompt, in seconds."""

    time_to_first_token: float
    time_per_output_token: float


@closed
class Served(TypedDict):
    """What one system delivered at a concurrency."""

    failed: Count
    """Empty and cut answers."""
    busy_seconds: float
    requests_per_second: float
    """Complete answers a second."""
    tokens_per_second: float
    good: Count | None
    """Complete answers within both limits; null without limits."""
    goodput: float | None
    """Those a second."""
    batching: float | None
    """Against the same system's rate on the same prompts, one at a time."""
    seconds_to_first_token: Spread
    seconds_per_output_token: Spread
    seconds: Spread


@closed
class Gain(TypedDict):
    """Tuned at a concurrency against base one at a time: whole = answers x batching."""

    whole: float
    answers: float
    batching: float


@closed
class Load(TypedDict):
    """So many requests served at once."""

    concurrency: Count
    requests: Count
    base: Served | None
    tuned: Served | None
    gain: Gain | None
    why: str
    """Why it was not measured; empty where it was."""


@closed
class FailedBySystem(TypedDict):
    """Empty and cut answers."""

    base: Count
    tuned: Count


@closed
class Latency(TypedDict):
    """Response time: of the prompts that both answered in full, one at a time; `load` of several at once."""

    base: Timed
    tuned: Timed
    percentiles_need: dict[str, Count]
    """How many answers each percentile takes."""
    order: Literal["in turn", "alone"]
    left_out: Count
    """Timed prompts to which an answer was empty or cut."""
    failed: FailedBySystem
    speedup: Estimate
    decomposition: Decomposition | None
    limits: Limits | None
    load: list[Load]
