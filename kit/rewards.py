"""What a reward is: evaluation, which knows the case's metrics, makes it; training learns from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
"""A prepared row: `messages`, the reference answer last, `tools` and `expected`, a mapping."""


@dataclass(frozen=True)
class Reward:
    """One metric as a reward: a number for every answer that was drawn, the higher the better."""

    name: str
    weight: float
    applies: Callable[[Row], bool]
    """Whether answers to a row's prompt can be rewarded at all."""
    score: Callable[[Any, Sequence[Sequence[int]], Sequence[Row]], list[float | None]]
    """(tokenizer, the tokens of answers, the row that each answers) -> a reward for each; None for all
    answers to a prompt that the metric says nothing of."""
