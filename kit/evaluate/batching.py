"""How many prompts are answered at once: as many as memory holds.

The longest prompts come first, so that memory runs out at once or not at all. Then half as many are tried;
where the device says how much of its memory was used, `auto` also tries twice as many. In float32 answers
do not depend on it; in half precision a batch's shape moves logits by rounding, which may turn a near tie,
so `auto` is not the default.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import torch

from kit.config.errors import ModelError, Problem
from kit.memory import within_memory

Made = TypeVar("Made")
Rows = dict[str, list[int]]
"""Token ids of prompts, by the prompt's id."""

FIRST, MOST = 32, 512
"""What `auto` begins with, and the most it tries."""
_ROOM = 0.4
"""Twice as many prompts take at most twice the memory; a fifth of it stays free."""


@dataclass
class BatchSize:
    """How many prompts are answered at once; what was learned of the memory stays learned."""

    prompts: int
    grows: bool

    @classmethod
    def of(cls, setting: int | Literal["auto"]) -> "BatchSize":
        """What a setting begins with."""
        return cls(FIRST, True) if setting == "auto" else cls(setting, False)


def in_batches(
    prompts: Rows,
    size: BatchSize,
    answer: Callable[[Rows], list[Made]],
    tell: Callable[[str], object],
) -> Iterator[list[Made]]:
    """What `answer` makes of the prompts, batch by batch, the longest first.

    Args:
        size: is changed as memory runs out, or has room.
        tell: is told when fewer are answered at once than was asked for.

    Raises:
        ModelError: memory does not hold one prompt and its answer.
    """
    ordered = sorted(prompts, key=lambda id_: (-len(prompts[id_]), id_))
    start = 0
    while start < len(ordered):
        batch = ordered[start : start + size.prompts]
        rows = {id_: prompts[id_] for id_ in batch}
        made = within_memory(partial(answer, rows))
        if made is None:
            size.prompts, size.grows = len(batch) // 2, False
            if not size.prompts:
                raise _too_long(len(prompts[batch[0]]))
            tell(f"memory does not hold {len(batch)} prompts at once; going on with {size.prompts}")
            continue
        start += len(batch)
        yield made
        if size.grows and len(batch) == size.prompts and memory_share() < _ROOM:
            size.prompts = min(2 * size.prompts, MOST)


def memory_share() -> float:
    """The share of the GPU's memory that was in use at most since the last call; 1 where nobody says."""
    if not torch.cuda.is_available():
        return 1.0
    share = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.reset_peak_memory_stats()
    return float(share)


def _too_long(tokens: int) -> ModelError:
    message = f"memory does not hold one prompt of {tokens} tokens and its answer"
    hint = "lower evaluate.max_new_tokens, or load the model in less: dtype, qlora, a smaller model"
    return ModelError(Problem("evaluate.batch_size", message, hint))
