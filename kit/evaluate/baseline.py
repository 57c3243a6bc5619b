"""The tuned answers of now against those of an earlier, released report: what got worse, metric by metric.

The same prompts' items are compared, paired, by the kit's own statistics. A metric has regressed where its
loss is larger than the tolerance and is shown: interval and test leave out that nothing changed. There is
no correction for the number of metrics: a false alarm costs a look, a missed regression reaches customers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.errors import InvalidRunError, Problem
from kit.evaluate import bootstrap
from kit.evaluate.compare import Compared, Settings, Statistic, compare
from kit.evaluate.contract_metrics import Difference

Json = dict[str, Any]
ChangeStatus = Literal["regressed", "worse", "no regression", "not shown", "not compared"]
BaselineStatus = Literal["held", "regressed", "not enough evidence"]

_CONDITIONS = (
    "system_prompt",
    "chat_template",
    "vocabulary",
    "stop_tokens",
    "decoding",
    "dtype",
    "quantization",
)


@dataclass(frozen=True)
class Change:
    """One metric's tuned greedy score then and now, on the prompts that both reports asked.

    `difference` is now minus then, and null where nothing was compared. `tolerance` is null for a metric that
    does not decide: it informs. `not shown`: no loss is shown, and one beyond the tolerance is not ruled out.
    `why` says that, or why it was not compared.
    """

    name: str
    label: str
    kind: str
    higher_is_better: bool
    n: int
    groups: int
    then: float | None
    now: float | None
    difference: Difference | None
    tolerance: float | None
    status: ChangeStatus
    why: str


@dataclass(frozen=True)
class BaselineResult:
    """An evaluation against a baseline. `conditions` are those that both were not asked under alike."""

    evaluation: str
    shared: int
    prompts: int
    baseline_prompts: int
    conditions: list[str]
    metrics: list[Change]
    status: BaselineStatus
    sentence: str


@dataclass(frozen=True)
class Tolerance:
    """How much may be lost: a share for every rate, and what single metrics may lose in their own unit."""

    rates: float
    own: Mapping[str, float]

    def of(self, name: str, kind: str) -> float | None:
        """A metric's tolerance; None where it does not decide."""
        return self.own.get(name, self.rates if kind == "rate" else None)


def compare_with_baseline(
    now: Json,
    then: Json,
    then_items: Sequence[Json],
    tolerance: Tolerance,
    settings: Settings,
    statistics: Mapping[str, Statistic],
) -> BaselineResult:
    """Compare an evaluation with an earlier one.

    Args:
        now: the contents of `scores.json`.
        then: the contents of the baseline's `report.json`.
        then_items: the lines of its `items.jsonl`.
        statistics: for metrics made from sums, the figure that sums make.

    Raises:
        InvalidRunError: no prompt is shared, or no metric means the same in both (exit code 4).
    """
    before = {item["id"]: item for item in then_items}
    shared = [item for item in now["items"] if item["id"] in before]
    pairs = [(before[item["id"]], item) for item in shared]
    if not pairs:
        _refuse(
            then, f"none of its {len(before)} prompts is among the {len(now['items'])} of now", "test data"
        )
    entries = {m["name"]: m for m in now["metrics"] if m["decoding"] == "greedy"}
    old = {m["name"]: m for m in then["metrics"] if m["decoding"] == "greedy"}
    changes = []
    for name in [*entries, *(name for name in old if name not in entries)]:
        why = _incomparable(name, entries, old, now, then, statistics)
        entry, allowed = (
            entries.get(name) or old[name],
            tolerance.of(name, (entries.get(name) or old[name])["kind"]),
        )
        if why:
            changes.append(_not_compared(entry, allowed, why))
        else:
            changes.append(_change(entry, pairs, allowed, settings, statistics.get(name)))
    if all(change.status == "not compared" for change in changes):
        _refuse(
            then, "; ".join(f"{c.name}: {c.why}" for c in changes) or "neither measured anything", "metrics"
        )
    return _result(now, then, len(before), len(shared), changes, settings, pairs)


def _refuse(then: Json, found: str, what: str) -> None:
    hint = (
        f"take a baseline with the same {what}: evaluate the released model on today's, and report that; "
        "without a baseline: casekit report report.baseline=null"
    )
    message = f"nothing is comparable with this evaluation: {found}"
    raise InvalidRunError(Problem(f"baseline {then['evaluation']}", message, hint))


def _incomparable(
    name: str,
    entries: Mapping[str, Json],
    old: Mapping[str, Json],
    now: Json,
    then: Json,
    statistics: Mapping[str, Statistic],
) -> str:
    """Why a metric cannot be compared; empty where it can."""
    if name not in old:
        return "the baseline did not measure it"
    if name not in entries:
        return "it is no longer measured"
    if entries[name]["ratio"] is not None:
        return "times belong to the machine they were taken on"
    if now["definitions"].get(name) != then["definitions"].get(name):
        return "its definition is another: parameters, policy, hooks or method changed"
    if entries[name]["of_sums"] and name not in statistics:
        return "its figure is no mean of answers that could be paired"
    return ""


def _not_compared(entry: Json, allowed: float | None, why: str) -> Change:
    return Change(
        name=entry["name"],
        label=entry["label"],
        kind=entry["kind"],
        higher_is_better=entry["higher_is_better"],
        n=0,
        groups=0,
        then=None,
        now=None,
        difference=None,
        tolerance=allowed,
        status="not compared",
        why=why,
    )


def _change(
    entry: Json,
    pairs: Sequence[tuple[Json, Json]],
    allowed: float | None,
    settings: Settings,
    statistic: Statistic | None,
) -> Change:
    """One metric on the shared prompts."""
    name, part = entry["name"], "scores" if statistic is None else "counts"
    items = [[item["greedy"]["tuned"][part].get(name) for item in side] for side in zip(*pairs, strict=True)]
    if (
        statistic is not None
        and len({len(count) for side in items for count in side if count is not None}) > 1
    ):
        return _not_compared(entry, allowed, "it counts other labels than then")
    found = compare(
        items[0],
        items[1],
        [item["group"] for _, item in pairs],
        kind=entry["kind"],
        higher_is_better=entry["higher_is_better"],
        settings=settings,
        statistic=statistic,
    )
    if found is None:
        return _not_compared(entry, allowed, "no shared prompt was scored both times")
    status, why = _judge(found, entry["higher_is_better"], allowed)
    gap = found.difference
    return Change(
        name=name,
        label=entry["label"],
        kind=entry["kind"],
        higher_is_better=entry["higher_is_better"],
        n=found.n,
        groups=found.groups,
        then=found.base.estimate,
        now=found.tuned.estimate,
        difference={
            "estimate": gap.estimate,
            "low": gap.low,
            "high": gap.high,
            "p_value": found.p_value,
            "method": gap.method,
        },
        tolerance=allowed,
        status=status,
        why=why,
    )


def _judge(found: Compared, higher_is_better: bool, allowed: float | None) -> tuple[ChangeStatus, str]:
    """Whether a metric regressed, and what its interval leaves open."""
    gap = found.difference
    loss, most = (-gap.estimate, -gap.low) if higher_is_better else (gap.estimate, gap.high)
    if found.verdict != "worse":
        if allowed is not None and most > allowed:
            return "not shown", "a loss beyond the tolerance is not ruled out"
        return "no regression", ""
    if allowed is None:
        return "worse", "a score without a tolerance of its own decides nothing"
    return ("regressed", "") if loss > allowed else ("worse", "the loss is within the tolerance")


def _result(
    now: Json,
    then: Json,
    before: int,
    shared: int,
    changes: list[Change],
    settings: Settings,
    pairs: Sequence[tuple[Json, Json]],
) -> BaselineResult:
    enough = bootstrap.enough_clusters([item["group"] for _, item in pairs], settings.confidence)
    prompts = f"{shared} shared prompt{'' if shared == 1 else 's'}"
    where = f"against the released {then['evaluation']}, on {prompts}"
    status, sentence = _conclude(changes, enough, where)
    own, theirs = now["conditions"]["tuned"], then["conditions"]["tuned"]
    return BaselineResult(
        evaluation=then["evaluation"],
        shared=shared,
        prompts=len(now["items"]),
        baseline_prompts=before,
        conditions=[key.replace("_", " ") for key in _CONDITIONS if own.get(key) != theirs.get(key)],
        metrics=changes,
        status=status,
        sentence=sentence,
    )


def _conclude(changes: Sequence[Change], enough: bool, where: str) -> tuple[BaselineStatus, str]:
    """What all metrics together come to, and the sentence that says so.

    Args:
        enough: whether so many shared prompts could show any difference.
        where: against what, and on how many prompts.
    """
    asked = [change for change in changes if change.tolerance is not None]
    deciding = [change for change in asked if change.status != "not compared"]
    if not deciding:
        why = "no rate was comparable, and no score with a tolerance of its own"
        return "not enough evidence", f"Not enough evidence {where}: {why}."
    regressed = [change.name for change in deciding if change.status == "regressed"]
    if not regressed and not enough:
        return "not enough evidence", f"Not enough evidence {where}: they are too few to show a regression."
    lost = [change.name for change in asked if change.status == "not compared"]
    beside = f" Not compared: {', '.join(lost)}." if lost else ""
    if not regressed:
        return "held", f"No regression beyond tolerance is shown {where}.{beside}"
    count = f"{len(regressed)} of {len(deciding)} metrics"
    named = ", ".join(regressed)
    return "regressed", f"{count} regressed beyond tolerance {where}: {named}.{beside}"
