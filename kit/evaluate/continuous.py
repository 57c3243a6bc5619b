"""Continuous batching: an answer that is complete leaves the batch, and the next prompt takes its place.

A batch that waits for its longest answer computes mostly what nobody reads. Here a batch has places, and a
prompt is read once, when it takes one. Keys and values stand in columns, one for every step: each place
writes what it said into the same column, and a mask says which columns are its own. What all prompts begin
with, such as a system message, is read once for all of them. All places look at the columns of the longest
answer, so one that outlasts the others is set aside for a while, to go on among its like.
"""

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from kit.drawing import NOBODY, Choose
from kit.evaluate.columns import ColumnLayer, Columns, empty_columns

_COLUMNS = 64
"""So many columns at least are added at a time; adding copies what is there."""

_OUTLASTS = 1.5
"""An answer that is so many times as long as those that are complete were on average outlasts them."""

_ASIDE = 2
"""One answer for so many places may be set aside, for it stays in memory; then they go on together."""

_ADDED = ("sdpa", "eager", "casekit_varlen")
"""Ways of attention that add a mask to their weights; the last is `sdpa` but for packed rows."""


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
    base = _base(model)
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


def shared_beginning(model: Any, rows: Sequence[Row]) -> list[int]:
    """The tokens that all prompts begin with, so that one reading of them serves all.

    It leaves every prompt a token to be read, and depends on no batch: answers stay as independent of its
    size as they are. None where the encoding of a place depends on the length of the text that is read
    (dynamic NTK and LongRoPE, `transformers.modeling_rope_utils`), for a beginning is shorter than the whole.
    """
    rope = getattr(_text_config(_base(model)), "rope_parameters", None) or {}
    kinds = {rope.get("rope_type")} | {one.get("rope_type") for one in rope.values() if isinstance(one, dict)}
    if len(rows) < 2 or kinds & {"dynamic", "longrope"}:
        return []
    prompts = [row.prompt for row in rows]
    # In order, all others lie between the first and the last, and so begin as these two do.
    pairs = zip(min(prompts), max(prompts), strict=False)
    shared = [token for token, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return shared[: min(map(len, prompts)) - 1]


class ContinuousBatch:
    """Answers that are made together, each at its own length."""

    def __init__(
        self,
        model: Any,
        choose: Choose,
        stops: Sequence[int],
        most: int,
        pad: int,
        beginning: Sequence[int] = (),
    ) -> None:
        """An empty batch.

        Args:
            model: one that `why_not` says nothing against, in evaluation mode.
            most: tokens after which an answer is complete without a stop token.
            beginning: tokens that every prompt begins with, and does not end with (`shared_beginning`).
        """
        base = _base(model)
        self.model, self.choose, self.stops, self.most, self.pad = model, choose, set(stops), most, pad
        self.device = next(model.parameters()).device
        self.config = _text_config(base)
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in _parameters(base) else {}
        self.places: list[Row | None] = []
        self.begins: list[int] = []
        """The first column of each place's own."""
        self.columns = Columns()
        self.cache = Cache(layers=[])
        self.beginning = list(beginning)
        self.begun: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Keys and values of the beginning by layer, each [1, heads, tokens, size], once it was read."""
        self.mask = torch.zeros(0, 0, dtype=torch.bool, device=self.device)
        """Which columns are a place's own: [places, columns]."""
        self.takes_weights = base.is_backend_compatible() and self.config._attn_implementation in _ADDED

        self.aside: list[tuple[Row, DynamicCache]] = []
        """Answers that were set aside, with their keys and values."""
        self.came_back: set[Row] = set()
        self.complete, self.their_tokens = 0, 0

    @property
    def rows(self) -> list[Row]:
        """Those that are being answered."""
        return [row for row in self.places if row is not None]

    @property
    def unfinished(self) -> list[Row]:
        """Those, and the ones that were set aside."""
        return [*self.rows, *(row for row, _ in self.aside)]

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
        self.mask[:, self.columns.end] = True
        last = [[row.said[-1] if row else self.pad] for row in self.places]
        positions = [[len(row.prompt) + len(row.said) - 1 if row else 0] for row in self.places]
        with torch.no_grad():
            scores = self.model(
                input_ids=torch.tensor(last, device=self.device),
                attention_mask=self._visible(),
                position_ids=torch.tensor(positions, device=self.device),
                past_key_values=self.cache,
                use_cache=True,
            ).logits[:, -1]
        self.columns.end += 1
        chosen = self._chosen(scores, self.places)
        tokens = [token for token, row in zip(chosen, self.places, strict=True) if row]
        self._share(rows, time.perf_counter() - start)
        complete = self._say(rows, tokens)
        for row in complete:
            self.places[self.places.index(row)] = None
        return complete

    def shrink(self) -> None:
        """Give up the places that are free: each costs as much as one that is not."""
        self._arrange(len(self.rows), 0)

    def set_aside(self, places: int) -> None:
        """Take out answers that outlast the others, with their keys and values, to go on with `bring_back`.

        Args:
            places: how many the batch has; to half of them answers are set aside.
        """
        usual = self.their_tokens / self.complete if self.complete else self.most
        outlast = [row for row in self.rows if len(row.said) > _OUTLASTS * usual]
        outlast = [row for row in outlast if row not in self.came_back]
        for row in outlast[: places // _ASIDE - len(self.aside)]:
            place, kept = self.places.index(row), DynamicCache(config=self.config)
            own = self.mask[place].nonzero()[:, 0]
            for number, layer in enumerate(self.cache.layers):
                pair = (part[place : place + 1].index_select(2, own) for part in (layer.keys, layer.values))
                kept.update(*pair, number)
            self.aside.append((row, kept))
            self.places[place] = None

    def no_more_aside(self, places: int) -> bool:
        """Whether so many answers are set aside that they should go on."""
        return bool(self.aside) and len(self.aside) >= places // _ASIDE

    def bring_back(self, places: int) -> None:
        """Let the answers that were set aside go on, in a batch of so many places or more."""
        longest = max(kept.get_seq_length() for _, kept in self.aside)
        self._make_room(max(places, len(self.unfinished)), longest)
        while self.aside:
            row, kept = self.aside[0]
            own = torch.ones(1, kept.get_seq_length(), dtype=torch.bool, device=self.device)
            self._put([row], [0], kept, own)
            self.came_back.add(row)
            del self.aside[0]  # not before: who is put back while memory runs out is there once

    def _read(self, rows: Sequence[Row]) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
        """Keys and values, mask [rows, longest], and scores of the next token [rows, vocabulary]."""
        if self.beginning and not self.begun:
            cache, *_ = self._passed([self.beginning], [])
            self.begun = [(layer.keys, layer.values) for layer in cache.layers]
        known = len(self.beginning)
        return self._passed([(row.prompt + row.said)[known:] for row in rows], self.begun)

    def _passed(
        self, rows: Sequence[list[int]], before: Sequence[tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
        """What `_read` gives, of tokens that stand after those whose keys and values are `before`."""
        ids, mask = padded(rows, self.pad, self.device)
        known = before[0][0].shape[2] if before else 0
        cache = DynamicCache(config=self.config)
        for layer, kept in enumerate(before):
            cache.update(*(part.expand(len(rows), -1, -1, -1) for part in kept), layer)
        positions = known + (mask.cumsum(dim=-1) - 1).clamp(min=0)
        mask = torch.nn.functional.pad(mask, (known, 0), value=1)
        with torch.no_grad():
            made = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **self.last_only,
            )
        return cache, mask, made.logits[:, -1]

    def _visible(self) -> torch.Tensor:
        """Which columns each place sees in a step, the next one among them.

        Where the model takes it, as what is added to the weights of attention, [places, 1, 1, columns]:
        transformers would make that of the other, in a tenth of a millisecond and more.
        """
        own = self.mask[:, self.columns.begin : self.columns.end + 1]
        if not self.takes_weights:
            return own
        added = torch.zeros(own.shape, dtype=self.cache.layers[0].keys.dtype, device=self.device)
        return added.masked_fill_(~own, -torch.inf)[:, None, None]

    def _chosen(self, scores: torch.Tensor, rows: Sequence[Row | None]) -> list[int]:
        ids, steps = (
            [row.id if row else NOBODY for row in rows],
            [len(row.said) if row else 0 for row in rows],
        )
        tokens: list[int] = self.choose(scores.float(), ids, steps).tolist()
        return tokens

    def _completes(self, row: Row, token: int) -> bool:
        return token in self.stops or len(row.said) + 1 == self.most

    def _say(self, rows: Sequence[Row], tokens: Sequence[int]) -> list[Row]:
        complete = [row for row, token in zip(rows, tokens, strict=True) if self._completes(row, token)]
        for row, token in zip(rows, tokens, strict=True):
            row.said.append(token)
        self.complete += len(complete)
        self.their_tokens += sum(len(row.said) for row in complete)
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
        self.mask[free, :end] = False
        self.mask[free, begin:end] = mask[read].bool()
        if not self.cache.layers:
            self.cache.layers = [self._layer_like(made) for made in cache.layers]
        for layer, made in zip(self.cache.layers, cache.layers, strict=True):
            layer.keys[free, :, begin:end] = made.keys[read]
            layer.values[free, :, begin:end] = made.values[read]
        for place, row in zip(free, rows, strict=True):
            self.places[place], self.begins[place] = row, begin
        self._narrow()

    def _layer_like(self, made: DynamicLayer) -> ColumnLayer:
        places, columns = self.mask.shape
        keys, values = (empty_columns(kept, places, columns) for kept in (made.keys, made.values))
        return ColumnLayer(self.columns, keys, values)

    def _arrange(self, places: int, width: int) -> None:
        """Move the rows to the first of so many places, and their columns to the left, with room for more."""
        self._narrow()
        kept = [place for place, row in enumerate(self.places) if row is not None]
        begin, end = (self.columns.begin, self.columns.end) if kept else (0, 0)
        shift = max(end - begin, width) - (end - begin)  # the next column is the same for old and new rows
        columns = end - begin + shift
        columns += max(_COLUMNS, columns // 4)
        span = slice(shift, shift + end - begin)
        mask = torch.zeros(places, columns, dtype=torch.bool, device=self.device)
        mask[: len(kept), span] = self.mask[kept, begin:end]
        self.mask = mask
        for layer in self.cache.layers:
            for name in ("keys", "values"):
                before = getattr(layer, name)
                after = empty_columns(before, places, columns)
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


def padded(
    rows: Sequence[list[int]], pad_token_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as one batch: ids and attention mask, both [rows, longest]."""
    length = max(map(len, rows))
    # Padding stands on the left, so that every row's next token is its last.
    ids = [[pad_token_id] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _base(model: Any) -> Any:
    """A model without the adapter that is laid on it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _text_config(model: Any) -> Any:
    return model.config.get_text_config(decoder=True)


def _parameters(model: Any) -> set[str]:
    return set(inspect.signature(model.forward).parameters)
