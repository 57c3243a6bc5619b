"""A rate by conversation: a group of prompts fails where any of its answers does."""

from collections.abc import Sequence
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.evaluate.compare import Items, Settings, compare


def by_group(
    base: Items, tuned: Items, groups: Sequence[str], *, higher_is_better: bool, settings: Settings
) -> dict[str, Any] | None:
    """The comparison of a rate whose unit is the group: a conversation, a customer, a document.

    Args:
        base, tuned: the 0 or 1 of the same prompts, None where the metric does not apply.
        groups: each prompt's group (`data.split.group_by`).

    Returns:
        What `compare` gives, with groups counted as n; None where no two scored prompts share a group, so
        that the prompts' own figures hold.
    """
    worst: dict[str, tuple[float, float]] = {}
    pick, scored = (min if higher_is_better else max), 0
    for b, t, group in zip(base, tuned, groups, strict=True):
        if isinstance(b, list) or isinstance(t, list) or b is None or t is None:
            continue
        before = worst.get(group, (b, t))
        worst[group] = (pick(before[0], b), pick(before[1], t))
        scored += 1
    if len(worst) == scored:
        return None
    pairs = list(worst.values())
    compared = compare(
        [b for b, _ in pairs],
        [t for _, t in pairs],
        list(worst),
        kind="rate",
        higher_is_better=higher_is_better,
        settings=settings,
    )
    return compared.as_json() if compared else None


def per_group(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """A metric's entry with its figures by group, for a gate or claim that says `per: group`.

    Raises:
        ConfigError: the metric is no rate of single answers.
    """
    if entry["kind"] != "rate" or entry.get("of_sums"):
        hint = "`per: group` is for rates, such as violation_rate; leave it out"
        raise ConfigError(Problem(where, f"{entry['name']!r} has no figure by group", hint))
    return {**entry, **(entry.get("by_group") or {})}
