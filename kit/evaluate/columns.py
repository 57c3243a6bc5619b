"""Keys and values of all places of a batch, in the same columns: one for every step, written in place."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer


@dataclass
class Columns:
    """The columns that are looked at: from `begin`, and the next one to be written is `end`."""

    begin: int = 0
    end: int = 0


class ColumnLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not type checked
    """Keys and values of a layer, [places, heads, columns, size], written in place."""

    def __init__(self, columns: Columns, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.columns, self.keys, self.values, self.is_initialized = columns, keys, values, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next column; all that are looked at."""
        begin, end = self.columns.begin, self.columns.end
        self.keys[:, :, end : end + 1] = key_states
        self.values[:, :, end : end + 1] = value_states
        return self.keys[:, :, begin : end + 1], self.values[:, :, begin : end + 1]

    def get_seq_length(self) -> int:
        """How many columns are looked at."""
        return self.columns.end - self.columns.begin

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Their number with the new ones, and the first of them."""
        return self.get_seq_length() + query_length, 0


def empty_columns(like: torch.Tensor, places: int, columns: int) -> torch.Tensor:
    """Room for keys or values, [places, heads, columns, size], of the kind of `like`."""
    # Not left unset: a masked column has no weight, but no weight times NaN is NaN.
    return like.new_zeros(places, like.shape[1], columns, like.shape[3])
