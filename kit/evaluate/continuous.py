"""Continuous batching: an answer that is complete leaves the batch, and the next prompt takes its place.

A batch that waits for its longest answer computes mostly what nobody reads. Here a batch has places, and a
prompt is read once, when it takes one. Keys and values stand in columns, one for every step: each place
writes what it said into the same column, and a mask says which columns are its own.
"""

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from kit.drawing import Choose

_COLUMNS = 64
"""So many columns at least are added at a time; adding copies what is there."""


@dataclass(eq=False)
class Row:
    """A prompt's tokens, and those that were answered so far."""

    id: str
    prompt: list[int]
    said: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Its share of the time of the batches that it was in."""

    @property
    def length(self) -> int:
        """How many tokens there are of both."""
        return len(self.prompt) + len(self.said)


def why_not(model: Any) -> str:
    """Why answers of this model cannot take each other's place in a batch; empty where they can."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not isinstance(base, PreTrainedModel):
        return "it is no model of transformers"
    if adds_to_prompts(model):
        return "its adapter is a part of the prompt"
    if not {"position_ids", "past_key_values"} <= _parameters(base):
        return "it cannot be told the place of a token"
    layers = DynamicCache(config=_text_config(base)).layers
    if {type(layer) for layer in layers} != {DynamicLayer}:
        return "its attention has windows or a state of its own"
    return ""


def adds_to_prompts(model: Any) -> bool:
    """Whether an adapter puts tokens of its own before every prompt (prefix and prompt tuning)."""
    return hasattr(model, "get_base_model") and bool(model.active_peft_config.is_prompt_learning)


class ContinuousBatch:
    """Answers that are made together, each at its own length."""

    def __init__(self, model: Any, choose: Choose, stops: Sequence[int], most: int, pad: int) -> None:
        """An empty batch.

        Args:
            model: one that `why_not` says nothing against, in evaluation mode.
            most: tokens after which an answer is complete without a stop token.
        """
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.model, self.choose, self.stops, self.most, self.pad = model, choose, set(stops), most, pad
        self.device = next(model.parameters()).device
        self.config = _text_config(base)
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in _parameters(base) else {}
        self.places: list[Row | None] = []
        self.begins: list[int] = []
        """The first column of each place's own."""
        self.columns = _Columns()
        self.cache = Cache(layers=[])
        self.mask = torch.zeros(0, 0, dtype=torch.long, device=self.device)
        """Which columns are a place's own: [places, columns]."""

    @property
    def rows(self) -> list[Row]:
        """Those that are being answered."""
        return [row for row in self.places if row is not None]

    def admit(self, rows: Sequence[Row], places: int) -> list[Row]:
        """Read prompts, and what was answered to them before; the answers go on with `step`.

        Args:
            rows: no more than there are places free.
            places: how many the batch has from now on; at least as many as are answered.

        Returns:
            Those whose first token made them complete.
        """
        start = time.perf_counter()
        cache, mask, scores = self._read(rows)
        tokens = self._chosen(scores, rows)
        stay = [row for row, token in enumerate(tokens) if not self._completes(rows[row], token)]
        if stay:
            self._make_room(places, mask.shape[1])
            self._put([rows[row] for row in stay], stay, cache, mask)
        self._share(rows, time.perf_counter() - start)
        return self._say(rows, tokens)

    def step(self) -> list[Row]:
        """One token more for every answer. Returns those that it made complete."""
        start, rows = time.perf_counter(), self.rows
        if self.columns.end == self.mask.shape[1]:
            self._arrange(len(self.places), 0)
        columns = self.columns
        self.mask[:, columns.end] = 1
        last = [[row.said[-1] if row else self.pad] for row in self.places]
        positions = [[len(row.prompt) + len(row.said) - 1 if row else 0] for row in self.places]
        with torch.no_grad():
            scores = self.model(
                input_ids=torch.tensor(last, device=self.device),
                attention_mask=self.mask[:, columns.begin : columns.end + 1],
                position_ids=torch.tensor(positions, device=self.device),
                past_key_values=self.cache,
                use_cache=True,
            ).logits[:, -1]
        columns.end += 1
        if len(rows) < len(self.places):
            scores = scores[[place for place, row in enumerate(self.places) if row]]
        tokens = self._chosen(scores, rows)
        self._share(rows, time.perf_counter() - start)
        complete = self._say(rows, tokens)
        for row in complete:
            self.places[self.places.index(row)] = None
        return complete

    def shrink(self) -> None:
        """Give up the places that are free: each costs as much as one that is not."""
        self._arrange(len(self.rows), 0)

    def _read(self, rows: Sequence[Row]) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
        """Keys and values, mask [rows, longest], and scores of the next token [rows, vocabulary]."""
        ids, mask = padded([row.prompt + row.said for row in rows], self.pad, self.device)
        cache = DynamicCache(config=self.config)
        with torch.no_grad():
            made = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
                **self.last_only,
            )
        return cache, mask, made.logits[:, -1]

    def _chosen(self, scores: torch.Tensor, rows: Sequence[Row]) -> list[int]:
        steps = [len(row.said) for row in rows]
        tokens: list[int] = self.choose(scores.float(), [row.id for row in rows], steps).tolist()
        return tokens

    def _completes(self, row: Row, token: int) -> bool:
        return token in self.stops or len(row.said) + 1 == self.most

    def _say(self, rows: Sequence[Row], tokens: Sequence[int]) -> list[Row]:
        complete = [row for row, token in zip(rows, tokens, strict=True) if self._completes(row, token)]
        for row, token in zip(rows, tokens, strict=True):
            row.said.append(token)
        return complete

    def _share(self, rows: Sequence[Row], seconds: float) -> None:
        for row in rows:
            row.seconds += seconds / len(rows)

    def _make_room(self, places: int, width: int) -> None:
        """See to it that `width` columns lie before the next one, and that there are so many places."""
        if not self.cache.layers or places != len(self.places) or self.columns.end < width:
            self._arrange(places, width)

    def _put(self, rows: Sequence[Row], read: Sequence[int], cache: DynamicCache, mask: torch.Tensor) -> None:
        """Give rows the places that are free, and copy there what was read of them.

        Args:
            read: which rows of `cache` and `mask` they are.
        """
        free = [place for place, row in enumerate(self.places) if row is None][: len(rows)]
        begin, end = self.columns.end - mask.shape[1], self.columns.end
        self.mask[free, :end] = 0
        self.mask[free, begin:end] = mask[read]
        if not self.cache.layers:
            self.cache.layers = [self._layer_like(made) for made in cache.layers]
        for layer, made in zip(self.cache.layers, cache.layers, strict=True):
            layer.keys[free, :, begin:end] = made.keys[read]
            layer.values[free, :, begin:end] = made.values[read]
        for place, row in zip(free, rows, strict=True):
            self.places[place], self.begins[place] = row, begin
        self._narrow()

    def _layer_like(self, made: DynamicLayer) -> "_Layer":
        places, columns = self.mask.shape
        keys, values = (_zeros(kept, places, columns) for kept in (made.keys, made.values))
        return _Layer(self.columns, keys, values)

    def _arrange(self, places: int, width: int) -> None:
        """Move the rows to the first of so many places, and their columns to the left, with room for more."""
        self._narrow()
        kept = [place for place, row in enumerate(self.places) if row is not None]
        begin, end = (self.columns.begin, self.columns.end) if kept else (0, 0)
        shift = max(end - begin, width) - (end - begin)  # the next column is the same for old and new rows
        columns = end - begin + shift
        columns += max(_COLUMNS, columns // 4)
        span = slice(shift, shift + end - begin)
        mask = torch.zeros(places, columns, dtype=torch.long, device=self.device)
        mask[: len(kept), span] = self.mask[kept, begin:end]
        self.mask = mask
        for layer in self.cache.layers:
            for name in ("keys", "values"):
                before = getattr(layer, name)
                after = _zeros(before, places, columns)
                after[: len(kept), :, span] = before[kept, :, begin:end]
                setattr(layer, name, after)
        self.begins = [self.begins[place] - begin + shift for place in kept] + [0] * (places - len(kept))
        self.places = [*(self.places[place] for place in kept), *[None] * (places - len(kept))]
        self.columns.end = span.stop
        self._narrow()

    def _narrow(self) -> None:
        """Look at no column before the first one that is anybody's."""
        own = [begin for begin, row in zip(self.begins, self.places, strict=True) if row is not None]
        self.columns.begin = min(own, default=self.columns.end)


@dataclass
class _Columns:
    """The columns that are looked at: from `begin`, and the next one to be written is `end`."""

    begin: int = 0
    end: int = 0


class _Layer(DynamicLayer):  # type: ignore[misc]  # transformers is not type checked
    """Keys and values of a layer, [places, heads, columns, size], written in place."""

    def __init__(self, columns: _Columns, keys: torch.Tensor, values: torch.Tensor) -> None:
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


def padded(
    rows: Sequence[list[int]], pad_token_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as one batch: ids and attention mask, both [rows, longest]."""
    length = max(map(len, rows))
    # Padding stands on the left, so that every row's next token is its last.
    ids = [[pad_token_id] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _zeros(like: torch.Tensor, places: int, columns: int) -> torch.Tensor:
    # Not left unset: a masked column has no weight, but no weight times NaN is NaN.
    return like.new_zeros(places, like.shape[1], columns, like.shape[3])


def _text_config(model: Any) -> Any:
    return model.config.get_text_config(decoder=True)


def _parameters(model: Any) -> set[str]:
    return set(inspect.signature(model.forward).parameters)
