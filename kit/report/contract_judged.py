"""What gates and claims come to, in the reports of runs and of comparisons alike."""

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from kit.evaluate.claims import ClaimResult
from kit.evaluate.contract_parts import Count, closed
from kit.evaluate.gates import GateResult
from kit.evaluate.seeds import SeedEffect
from kit.evaluate.two_sided import TwoSided
from kit.report.contract_labour import Labour
from kit.report.view import DroppedGate


@closed
class JudgedBy(TypedDict):
    """Hashes: the same ones give the same verdict."""

    gates: str
    scores: str
    baseline: str
    """Empty where there is none."""


@closed
class EarlierGate(TypedDict):
    """A gate of an earlier verdict."""

    name: str
    wanted: str
    status: str


@closed
class Earlier(TypedDict):
    """A verdict that this evaluation got before."""

    status: str
    exit_code: int
    sentence: str
    gates: list[EarlierGate]
    judged_by: dict[str, str]


@closed
class SeedFactor(TypedDict):
    """A greedy metric over runs that differ by the training seed only."""

    name: str
    label: str
    seeds: list[int]
    n: Count
    tuned: list[float]
    """The tuned score of every run, in the order of the seeds."""
    difference: SeedEffect


LeakGate = TypedDict("LeakGate", {"name": str, "with": str, "without": str})
"""A gate that comes out otherwise without leaked prompts."""


@closed
class LeakChange(TypedDict):
    """The verdict without leaked prompts."""

    status: str
    exit_code: int
    sentence: str
    changed: bool
    gates: list[LeakGate]


@closed
class Judged(TypedDict):
    """Everything that is judged, but for the release decision."""

    gates: list[GateResult]
    claims: list[ClaimResult]
    judged_by: JudgedBy
    two_sided: list[TwoSided]
    """Faults against over-caution, for every pair of such metrics that the case has."""
    dropped_gates: list[DroppedGate]
    """The recipe's gates that the project does not set as the recipe does."""
    earlier: list[Earlier]
    seed_factor: list[SeedFactor]
    """Empty with fewer than three seeds."""
    labour: Labour | None
    """Null without the setting `labour`."""
    leak_change: LeakChange | None
    """What the verdict is without leaked prompts; null where nothing leaked."""
