"""How long a conversation stays without a fault: first faulty turns, and a survival curve over turns.

Where the turns of a conversation are rows of their own (one group, `data.split.group_by`, and the same
beginning), each is asked with what came before it, and a pushing customer may bring at the fifth what was
refused at the first.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit.evaluate.compare import Items
from kit.evaluate.statistics import normal_quantile, wilson


@dataclass(frozen=True)
class Followed:
    """A conversation up to its first faulty turn: the turns that were scored, and whether the last is faulty.

    Not all need be: a turn that was not asked, or that the metric says nothing of, was not seen without a
    fault either.
    """

    turns: tuple[int, ...]
    faulty: bool


def by_turn(
    base: Items,
    tuned: Items,
    conversations: Sequence[str],
    turns: Sequence[int],
    *,
    higher_is_better: bool,
    confidence: float,
) -> list[dict[str, Any]] | None:
    """For each turn: how many conversations were still without a fault, and the share that stays so.

    Args:
        base, tuned: the 0 or 1 of the same prompts, None where the metric does not apply.
        conversations: which one each prompt is a turn of.
        turns: which turn of it is asked, from 1 on.

    Returns:
        None where no conversation is scored at two turns.
    """
    scored = [
        (conversation, turn, b, t)
        for conversation, turn, b, t in zip(conversations, turns, base, tuned, strict=True)
        if b is not None and t is not None and not isinstance(b, list) and not isinstance(t, list)
    ]
    reached = {(conversation, turn) for conversation, turn, *_ in scored}
    if len(reached) == len({conversation for conversation, _ in reached}):
        return None
    good = 1.0 if higher_is_better else 0.0
    curves = {
        system: survival(
            follow([(row[0], row[1], row[place] != good) for row in scored]),
            sorted({turn for _, turn in reached}),
            confidence,
        )
        for system, place in (("base", 2), ("tuned", 3))
    }
    return [
        {"turn": one.pop("turn"), "base": one, "tuned": {k: v for k, v in other.items() if k != "turn"}}
        for one, other in zip(curves["base"], curves["tuned"], strict=True)
    ]


def follow(faults: Sequence[tuple[str, int, bool]]) -> list[Followed]:
    """Each conversation up to its first faulty turn, or to the last one that was scored."""
    found: dict[str, dict[int, bool]] = defaultdict(dict)
    for conversation, turn, faulty in faults:
        found[conversation][turn] = found[conversation].get(turn, False) or faulty
    followed = []
    for turns in found.values():
        end = min((turn for turn, faulty in turns.items() if faulty), default=max(turns))
        followed.append(Followed(tuple(sorted(turn for turn in turns if turn <= end)), turns[end]))
    return followed


def survival(followed: Sequence[Followed], turns: Sequence[int], confidence: float) -> list[dict[str, Any]]:
    """The Kaplan–Meier curve of conversations without a fault, turn by turn.

    S(t) = Π over turns up to t of 1 - d/n, with n the conversations that were scored at a turn and had no
    fault before it, d those with their first fault there; a conversation that ends is no fault. Its
    interval is Greenwood's on the log(-log) scale (Kalbfleisch and Prentice 1980), and Wilson's of the
    conversations at that turn where S is 0 or 1. Source: Kaplan and Meier, JASA 1958, 53:457.
    """
    share, variance, rows = 1.0, 0.0, []
    for turn in turns:
        at_risk = sum(turn in one.turns for one in followed)
        first = sum(one.faulty and one.turns[-1] == turn for one in followed)
        if at_risk:
            share *= 1 - first / at_risk
            variance += first / (at_risk * (at_risk - first)) if first < at_risk else 0.0
        low, high = _interval(share, variance, at_risk, confidence)
        rows.append(
            {"turn": turn, "at_risk": at_risk, "first": first, "estimate": share, "low": low, "high": high}
        )
    return rows


def _interval(share: float, variance: float, at_risk: int, confidence: float) -> tuple[float, float]:
    if 0 < share < 1:
        reach = normal_quantile(confidence) * math.sqrt(variance) / -math.log(share)
        low, high = (math.exp(math.log(share) * math.exp(side)) for side in (reach, -reach))
        return low, high
    if not at_risk:
        return 0.0, 1.0
    found = wilson(at_risk if share == 1 else 0, at_risk, confidence)
    return found.low, found.high
