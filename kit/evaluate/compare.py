"""One metric's items of base and tuned, compared: the entry of `scores.json` for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from kit.data.balance import SMALLEST_TESTED_SLICE
from kit.evaluate import bootstrap, statistics
from kit.evaluate.multiplicity import benjamini_hochberg
from kit.evaluate.statistics import Interval, Outcome
from kit.evaluate.sums import compare_sums

NOTHING = {"estimate": None, "low": None, "high": None, "method": "not scored"}

Items = Sequence[float | list[float] | None]
"""A number a prompt, or several that a `Statistic` is made from; None where a metric does not apply."""
Statistic = Callable[[statistics.Floats], statistics.Floats]
"""The figure of each row of added-up counts: (..., counts) -> (...)."""
Slices = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Settings:
    """How intervals are made."""

    confidence: float
    draws: int
    seed: int


@dataclass(frozen=True)
class Compared:
    """Intervals of both systems and of their difference, over the prompts that both were scored on."""

    n: int
    groups: int
    """How many groups the n prompts form: prompts of one group are one witness."""
    base: Interval
    tuned: Interval
    difference: Interval
    p_value: float
    reduction: statistics.Reduction | None
    verdict: Outcome

    def as_json(self, tested: bool = True) -> dict[str, Any]:
        """The keys of the contract; untested ones keep their intervals and lose p-value and verdict."""
        return {
            "n": self.n,
            "groups": self.groups,
            "base": asdict(self.base),
            "tuned": asdict(self.tuned),
            "difference": asdict(self.difference) | {"p_value": self.p_value if tested else None},
            "reduction": asdict(self.reduction) if self.reduction else None,
            "verdict": self.verdict if tested else "not shown",
        }


def compare(
    base: Items,
    tuned: Items,
    groups: Sequence[str],
    *,
    kind: Literal["rate", "score"],
    higher_is_better: bool,
    settings: Settings,
    statistic: Statistic | None = None,
) -> Compared | None:
    """Compare two systems on the prompts where both have an item; None if there are none.

    Args:
        base, tuned: the items of the same prompts, in the same order.
        groups: each prompt's group; prompts of one group count as dependent.
        statistic: for items that are counts, the figure that their sums make.
    """
    pairs = [
        (b, t, g) for b, t, g in zip(base, tuned, groups, strict=True) if b is not None and t is not None
    ]
    if not pairs:
        return None
    x, y = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    shared = [pair[2] for pair in pairs]
    if statistic is not None:
        return _compare_sums(x, y, shared, higher_is_better, settings, statistic)
    if kind == "rate":
        return _compare_rates(x, y, shared, higher_is_better, settings)
    return _compare_scores(x, y, shared, higher_is_better, settings)


def _compare_rates(
    x: statistics.Floats, y: statistics.Floats, groups: list[str], higher_is_better: bool, settings: Settings
) -> Compared:
    """Wilson, Newcombe 10 and mid-p McNemar; wider where prompts share groups and so are not independent."""
    table = statistics.paired_table(x, y)
    n, confidence = table.n, settings.confidence
    base = statistics.wilson(table.both + table.only_base, n, confidence)
    tuned = statistics.wilson(table.both + table.only_tuned, n, confidence)
    difference = statistics.newcombe(table, confidence)
    p_value = statistics.mcnemar(table.only_base, table.only_tuned)
    reduction = None if higher_is_better else statistics.reduction(table, confidence)
    if bootstrap.clustered(groups):
        base, tuned = _widen(base, x, groups, settings), _widen(tuned, y, groups, settings)
        difference = _widen(difference, y - x, groups, settings)
        drawn = bootstrap.bootstrap_p_value(y - x, groups, draws=settings.draws, seed=settings.seed)
        p_value = max(p_value, drawn)
        reduction = _widen_reduction(reduction, x, y, groups, settings) if reduction else None
    return Compared(
        n=n,
        groups=len(set(groups)),
        base=base,
        tuned=tuned,
        difference=_with_method(difference, f"{difference.method}, mid-p McNemar"),
        p_value=p_value,
        reduction=reduction,
        verdict=_verdict(difference, p_value, groups, higher_is_better, settings),
    )


def _compare_scores(
    x: statistics.Floats, y: statistics.Floats, groups: list[str], higher_is_better: bool, settings: Settings
) -> Compared:
    """Bootstrap over groups, for real-valued items."""
    difference = _bootstrap(y - x, groups, settings)
    p_value = bootstrap.bootstrap_p_value(y - x, groups, draws=settings.draws, seed=settings.seed)
    return Compared(
        n=len(x),
        groups=len(set(groups)),
        base=_bootstrap(x, groups, settings),
        tuned=_bootstrap(y, groups, settings),
        difference=_with_method(difference, f"paired {difference.method}"),
        p_value=p_value,
        reduction=None,
        verdict=_verdict(difference, p_value, groups, higher_is_better, settings),
    )


def _compare_sums(
    x: statistics.Floats,
    y: statistics.Floats,
    groups: list[str],
    higher_is_better: bool,
    settings: Settings,
    statistic: Statistic,
) -> Compared:
    """Bootstrap over groups of a figure made from sums; both systems from the same draws."""
    base, tuned, difference, p_value = compare_sums(
        x,
        y,
        groups,
        statistic,
        draws=settings.draws,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return Compared(
        n=len(x),
        groups=len(set(groups)),
        base=base,
        tuned=tuned,
        difference=_with_method(difference, f"paired {difference.method}"),
        p_value=p_value,
        reduction=None,
        verdict=_verdict(difference, p_value, groups, higher_is_better, settings),
    )


def _verdict(
    difference: Interval, p_value: float, groups: list[str], higher_is_better: bool, settings: Settings
) -> Outcome:
    """Shown only where interval and test agree and there are groups enough to show anything."""
    if not bootstrap.enough_clusters(groups, settings.confidence):
        return "not shown"
    return statistics.outcome(
        difference.low,
        difference.high,
        p_value,
        confidence=settings.confidence,
        higher_is_better=higher_is_better,
    )


def _bootstrap(values: statistics.Floats, groups: list[str], settings: Settings) -> Interval:
    return bootstrap.bootstrap_mean(
        values, groups, draws=settings.draws, confidence=settings.confidence, seed=settings.seed
    )


def _widen(interval: Interval, values: statistics.Floats, groups: list[str], settings: Settings) -> Interval:
    return bootstrap.widened(
        interval,
        values,
        groups,
        draws=settings.draws,
        confidence=settings.confidence,
        seed=settings.seed,
    )


def _widen_reduction(
    reduction: statistics.Reduction,
    x: statistics.Floats,
    y: statistics.Floats,
    groups: list[str],
    settings: Settings,
) -> statistics.Reduction:
    """The reduction's interval, stretched like the others."""
    low, high = bootstrap.bootstrap_reduction(
        x, y, groups, draws=settings.draws, confidence=settings.confidence, seed=settings.seed
    )
    return replace(
        reduction,
        low=min(reduction.low, low),
        high=max(reduction.high, high),
        method=f"{reduction.method}, widened by bootstrap over groups",
    )


def _with_method(interval: Interval, method: str) -> Interval:
    return Interval(interval.estimate, interval.low, interval.high, method)


def compare_slices(
    base: Items,
    tuned: Items,
    groups: Sequence[str],
    slices: Slices,
    *,
    kind: Literal["rate", "score"],
    higher_is_better: bool,
    settings: Settings,
    statistic: Statistic | None = None,
) -> list[dict[str, Any]]:
    """The comparison for every value of every slice column, columns and values in alphabetical order.

    A value that no prompt was scored for is there too, with n = 0: left out, it would pass every gate.
    """
    found = []
    for column, value in sorted({pair for row in slices for pair in row.items()}):
        places = [place for place, row in enumerate(slices) if row.get(column) == value]
        compared = compare(
            [base[place] for place in places],
            [tuned[place] for place in places],
            [groups[place] for place in places],
            kind=kind,
            higher_is_better=higher_is_better,
            settings=settings,
            statistic=statistic,
        )
        tested = compared is not None and compared.groups >= SMALLEST_TESTED_SLICE
        entry = compared.as_json(tested) if compared else _not_scored()
        entry["difference"]["q_value"] = None
        found.append({"column": column, "value": value, "tested": tested, **entry})
    return found


def explore(entries: Sequence[dict[str, Any]], confidence: float) -> None:
    """Put a q-value to every tested slice of all metrics, and call a change shown only where it is small.

    Args:
        entries: the `metrics` entries of one decoding, changed in place. Many slices are looked at, and of
            those called improved or worse no more than 1 - confidence are expected to be so by chance.
    """
    tested = [part for entry in entries for part in entry["slices"] if part["tested"]]
    q_values = benjamini_hochberg([part["difference"]["p_value"] for part in tested])
    for part, q_value in zip(tested, q_values, strict=True):
        part["difference"]["q_value"] = q_value
        if 1 - q_value <= confidence:  # 1 - 0.95 rounds to more than 0.05
            part["verdict"] = "not shown"


def _not_scored() -> dict[str, Any]:
    """The comparison where no prompt was scored for both systems."""
    return {
        "n": 0,
        "groups": 0,
        "base": NOTHING,
        "tuned": NOTHING,
        "difference": NOTHING | {"p_value": None},
        "reduction": None,
        "verdict": "not shown",
    }
