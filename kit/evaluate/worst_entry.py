"""An entry of `worst_at_k`: both systems by the expected worst of k answers, for every k, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kit.evaluate import statistics
from kit.evaluate.compare import Compared, Settings, Statistic, compare
from kit.evaluate.statistics import Floats, Interval
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.worst_at_k import expected_worst

_ENOUGH = 10
"""So many groups of prompts with some of either, as for the normal approximation of a binomial."""
_DIGITS = 12
"""A share is rounded to so many, so that 1 made from a sum of fractions is 1."""


def worst_entry(
    items: Mapping[str, Sequence[Sequence[float | None]]],
    groups: Sequence[str],
    settings: Settings,
    *,
    name: str,
    label: str,
    kind: Literal["rate", "score"] | None,
    higher_is_better: bool,
    statistic: Statistic | None = None,
) -> dict[str, Any] | None:
    """The entry (`kit.evaluate.contract_worst.WorstMetric`); None where no prompt can be scored.

    Args:
        items: of each system, of its first, second, … answer, an item a prompt; None where it has none.
        groups: one a prompt.
        kind: None sees for itself whether all items are 0 or 1.
        statistic: of a mean that is held within a range, the figure of [sum of items, their number].
    """
    tables = {system: np.array(items[system], dtype=np.float64).T for system in SYSTEMS}
    # [prompts, answers]; None became NaN. An answer without a score might be the worst one: its prompt says
    # nothing of the worst of k.
    kept = np.flatnonzero(~np.isnan(np.hstack([*tables.values()])).any(axis=1)).tolist()
    if not kept:
        return None
    of_kept = [groups[place] for place in kept]
    scores = {system: table[kept] for system, table in tables.items()}
    seen = {float(value) for table in scores.values() for value in np.unique(table)}
    kind = kind or ("rate" if seen <= {0.0, 1.0} else "score")
    worst = {system: expected_worst(table, higher_is_better) for system, table in scores.items()}
    answers = worst["base"].shape[1]
    at = []
    for k in range(1, answers + 1):
        base, tuned = (worst[system][:, k - 1] for system in SYSTEMS)
        compared = _compared(base, tuned, of_kept, settings, kind, higher_is_better, statistic)
        figures = compared.as_json(tested=k == answers)
        at.append({"k": k, **{key: figures[key] for key in (*SYSTEMS, "difference")}})
    return {
        "name": name,
        "label": label,
        "kind": kind,
        "higher_is_better": higher_is_better,
        "n": len(kept),
        "groups": len(set(of_kept)),
        "at": at,
        "verdict": compared.verdict,
    }


def _compared(
    base: Floats,
    tuned: Floats,
    groups: Sequence[str],
    settings: Settings,
    kind: Literal["rate", "score"],
    better: bool,
    statistic: Statistic | None,
) -> Compared:
    """Both systems at one k, of every prompt its own expected worst.

    Of a rate that is a yes or no at the last k, tested as any rate is, and a share before.
    """
    if statistic is not None:
        x, y = ([[value, 1.0] for value in side.tolist()] for side in (base, tuned))
        found = compare(
            x, y, groups, kind=kind, higher_is_better=better, settings=settings, statistic=statistic
        )
        assert found is not None  # noqa: S101  # there are prompts
        return found
    if kind == "rate":
        base, tuned = np.round(base, _DIGITS), np.round(tuned, _DIGITS)
    all_or_none = kind == "rate" and {*base.tolist(), *tuned.tolist()} <= {0.0, 1.0}
    found = compare(
        base.tolist(),
        tuned.tolist(),
        groups,
        kind="rate" if all_or_none else "score",
        higher_is_better=better,
        settings=settings,
    )
    assert found is not None  # noqa: S101  # there are prompts
    if kind == "score" or all_or_none:
        return found
    return replace(
        found,
        base=stretched(found.base, base, groups, settings.confidence),
        tuned=stretched(found.tuned, tuned, groups, settings.confidence),
        difference=stretched_difference(found.difference, base, tuned, groups, settings.confidence),
    )


def stretched(interval: Interval, shares: Floats, groups: Sequence[str], confidence: float) -> Interval:
    """A bootstrap interval of the mean of shares from 0 to 1, stretched to Wilson's where few say anything.

    Where hardly a prompt has a fault among its answers, or hardly one is without, draws of prompts hardly
    spread: of 4% of 80 prompts, three in ten of whose answers have it, they cover 88% for 95%. Wilson's takes
    every prompt for one yes or no, and a share between varies less; where ten groups have either, draws do.
    """
    with_some = {group for group, share in zip(groups, shares, strict=True) if share > 0}
    not_all = {group for group, share in zip(groups, shares, strict=True) if share < 1}
    if min(len(with_some), len(not_all)) >= _ENOUGH:
        return interval
    wilson = statistics.wilson(float(shares.sum()), len(shares), confidence)
    low, high = min(interval.low, wilson.low), max(interval.high, wilson.high)
    return Interval(interval.estimate, low, high, f"{interval.method}, stretched to Wilson")


def stretched_difference(
    interval: Interval, base: Floats, tuned: Floats, groups: Sequence[str], confidence: float
) -> Interval:
    """The same of the paired difference, stretched to Newcombe's where few prompts tell the systems apart.

    Where three of 80 prompts differ, draws of prompts cover 65% for 95%, and where none does they have no
    width: a gate on non-inferiority would hold for want of evidence.
    """
    apart = {group for group, x, y in zip(groups, base, tuned, strict=True) if x != y}
    if len(apart) >= _ENOUGH:
        return interval
    newcombe = statistics.newcombe_of_shares(base, tuned, confidence)
    low, high = min(interval.low, newcombe.low), max(interval.high, newcombe.high)
    return Interval(interval.estimate, low, high, f"{interval.method}, stretched to Newcombe 10")
