"""How many prompts are answered at once: as many as memory holds.

The longest prompts come first, so that memory runs out at once or not at all. Then half as many are tried;
where the device says how much of its memory was used, `auto` also tries twice as many. A batch's shape moves
logits by rounding. In float32 that turned no greedy answer wherever it was looked for, and about one sampled
one in a thousand, whose drawn number lay within rounding of another token's; in half precision it may turn a
near tie, so `auto` is not the default.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from kit.config.errors import ModelError, Problem
from kit.memory import within_memory

if TYPE_CHECKING:
    from kit.evaluate.continuous import Row

Made = TypeVar("Made")

FIRST, MOST = 32, 512
"""What `auto` begins with, and the most it tries."""
_ROOM = 0.4
"""Twice as many prompts take at most twice the memory; a fifth of it stays free."""


@dataclass
class BatchSize:
    """How many prompts are answered at once; what was learned of the memory stays learned."""

    prompts: int
    grows: bool
    together: bool = False
    """Whether other processes go through the same batches, each with a part of the model: they would wait
    for one that tries fewer by itself, so that memory that runs out is an error."""
    since: int = 0
    """Prompts that were answered since the memory was looked at."""

    @classmethod
    def of(cls, setting: int | Literal["auto"], together: bool = False) -> "BatchSize":
        """What a setting begins with."""
        if setting == "auto":
            return cls(FIRST, not together, together)
        return cls(setting, False, together)

    def attempt(self, work: Callable[[], Made]) -> Made | None:
        """What `work` makes; None where memory ran out and fewer may be tried."""
        return work() if self.together else within_memory(work)

    def answered(self, count: int) -> None:
        """Note that memory held so many more; where it has room, twice as many may be tried."""
        self.since += count
        if self.since >= self.prompts:
            self.since = 0
            if self.grows and memory_share() < _ROOM:
                self.prompts = min(2 * self.prompts, MOST)

    def fell_short(self, tried: int, longest: int, tell: Callable[[str], object]) -> None:
        """Note that memory did not hold so many.

        Args:
            longest: tokens of the longest prompt among them.
            tell: is told how it goes on.

        Raises:
            ModelError: it was one.
        """
        self.prompts, self.grows = tried // 2, False
        if not self.prompts:
            raise _too_long(longest)
        tell(f"memory does not hold {tried} prompts at once; going on with {self.prompts}")


def longest_first(rows: "Sequence[Row]") -> "list[Row]":
    """So memory runs out at once or not at all, and prompts of like length come together."""
    return sorted(rows, key=lambda row: (-row.length, row.id))


def in_batches(
    rows: "Sequence[Row]",
    size: BatchSize,
    answer: "Callable[[list[Row]], Made]",
    tell: Callable[[str], object],
) -> Iterator[Made]:
    """What `answer` makes of the rows, batch by batch, the longest first.

    Args:
        size: is changed as memory runs out, or has room.
        tell: is told when fewer are answered at once than was asked for.

    Raises:
        ModelError: memory does not hold one prompt and its answer.
    """
    ordered = longest_first(rows)
    while ordered:
        batch = ordered[: size.prompts]
        made = size.attempt(partial(answer, batch))
        if made is None:
            size.fell_short(len(batch), batch[0].length, tell)
            continue
        del ordered[: len(batch)]
        yield made
        size.answered(len(batch))


def memory_share() -> float:
    """The share of the GPU's memory that was in use at most since the last call; 1 where nobody says."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # no GPU is used
        return 1.0
    share = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.reset_peak_memory_stats()
    return float(share)


def _too_long(tokens: int) -> ModelError:
    message = f"memory does not hold one prompt of {tokens} tokens and its answer"
    hint = "lower evaluate.max_new_tokens, or load the model in less: dtype, qlora, a smaller model"
    return ModelError(Problem("evaluate.batch_size", message, hint))
