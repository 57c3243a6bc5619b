"""How several processes share a batch: by rows that mean nothing, where it does not divide."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Dataset

from kit.data.rows import IGNORED
from kit.train.processes import highest, rank, world_size

Batch = dict[str, Any]
Collator = Callable[[list[dict[str, Any]]], Batch]
WEIGHTLESS = "weightless"
"""In a batch without labels: nothing is to be learned from it."""


class WithFiller(Dataset[dict[str, Any] | None]):
    """Training rows, and beyond the last of them a row that is none."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any] | None:
        return self.rows[row] if row < len(self.rows) else None

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any] | None]:
        """Several at once, as the loader asks for them."""
        real = iter(self.rows.__getitems__([row for row in rows if row < len(self.rows)]))
        return [next(real) if row < len(self.rows) else None for row in rows]


def without_fillers(collate: Collator, stand_in: dict[str, Any]) -> Collator:
    """Make a batch of the real rows among those given; of `stand_in`, without weight, if there is none."""

    def collate_real(examples: list[dict[str, Any] | None]) -> Batch:
        real = [example for example in examples if example is not None]
        return collate(real) if real else weightless(collate([stand_in]))

    return collate_real  # type: ignore[return-value]


def own_batches(rows: int, size: int) -> list[list[int]]:
    """This process's share of the batches that so many rows make in their order, as row numbers: every so
    many-th batch, so that each batch is one of those that one process has. Where there is none left for it,
    a batch of the row that is none.
    """
    batches = [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]
    batches += [[rows]] * (-len(batches) % world_size())
    return batches[rank() :: world_size()]


def weightless(batch: Batch) -> Batch:
    """The same batch with nothing to learn from it: every process passes as often through the model."""
    if "labels" in batch:
        return {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
    return {**batch, WEIGHTLESS: True}


def as_many_as_others(passes: list[Batch]) -> list[Batch]:
    """The passes, and before them as many without weight as other processes need more for their share."""
    missing = highest(len(passes)) - len(passes)
    return [*(weightless(passes[-1]) for _ in range(missing)), *passes]


@contextmanager
def more_to_come(accelerator: Any, model: Any) -> Iterator[None]:
    """A pass within, and its gradient, is not the last of its step: processes exchange gradients after that.

    Accelerate's own `no_sync` says so to the model alone; DeepSpeed is told by what the accelerator says.
    """
    state, last = accelerator.gradient_state, accelerator.sync_gradients
    state._set_sync_gradients(False)
    try:
        with accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(last)
