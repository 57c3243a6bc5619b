"""Prepared rows as numbers: what two sets of a million rows are compared by, without holding their texts."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kit.config.errors import DataError, Problem
from kit.data.prepared import SAMPLES, json_or_none
from kit.data.rows import SPLITS, Message
from kit.data.same import turns_of

Numbers = NDArray[np.uint64]
_KNOWN = ("id", "messages", "group", "source", "line", SAMPLES)  # the last follows from the messages


@dataclass(frozen=True)
class RowNumbers:
    """One array a column, a place a row: splits in the order of `SPLITS`, rows in that of their file."""

    id: Numbers
    columns: Numbers
    """A hash of labels, slices and whatever else stands beside the messages."""
    place: Numbers
    """A hash of source and line."""
    split: NDArray[np.uint8]
    """Index in `SPLITS`."""


@dataclass(frozen=True)
class TextNumbers:
    """Hashes of a dialogue's parts, a place a row; 0 where the row was not asked for."""

    prompt: Numbers
    """Everything before the last answer, the system message aside; of a document all."""
    answer: Numbers


def row_numbers(folder: Path) -> RowNumbers:
    """The numbers of all rows of a prepared folder.

    Raises:
        DataError: a split cannot be read.
    """
    ids: list[int] = []
    columns: list[int] = []
    places: list[int] = []
    splits: list[int] = []
    for number, batch in _batches(folder):
        others = [name for name in batch.schema.names if name not in _KNOWN]
        ids += [int(value, 16) for value in batch["id"].to_pylist()]
        columns += map(_hash, zip(*(batch[name].to_pylist() for name in others), strict=True))
        places += map(_hash, _places(batch))
        splits += [number] * len(batch)
    return RowNumbers(
        np.array(ids, np.uint64),
        np.array(columns, np.uint64),
        np.array(places, np.uint64),
        np.array(splits, np.uint8),
    )


def text_numbers(folder: Path, count: int, wanted: NDArray[np.intp]) -> TextNumbers:
    """The hashes of the texts of the `wanted` rows of `count`, by their places in `row_numbers`, sorted."""
    prompt, answer = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    dialogues = _chosen(folder, wanted, lambda batch: batch["messages"].to_pylist())
    for place, messages in zip(wanted, dialogues, strict=True):
        prompt[place], answer[place] = text_hashes(messages)
    return TextNumbers(prompt, answer)


def text_hashes(messages: Sequence[Message]) -> tuple[int, int]:
    """Of a dialogue's prompt, the system message aside, and of its last answer; a document is all prompt."""
    plain = [
        {
            name: value if isinstance(value, str) else json_or_none(value)
            for name, value in message.items()
            if value
        }
        for message in messages
    ]
    turns = list(turns_of(plain))
    prompt, answer = (turns, []) if len(messages) == 1 else (turns[:-1], turns[-1:])
    return _hash(prompt), _hash(answer)


def places_of(folder: Path, wanted: NDArray[np.intp]) -> list[str]:
    """`file:line` of the `wanted` rows, by their places in `row_numbers`, sorted."""
    return [
        f"{source}:{line}" for source, line in _chosen(folder, wanted, lambda batch: list(_places(batch)))
    ]


def _chosen(folder: Path, wanted: NDArray[np.intp], read: Any) -> Iterator[Any]:
    before = 0
    for _, batch in _batches(folder):
        first, last = np.searchsorted(wanted, (before, before + len(batch)))
        if first < last:
            found = read(batch)
            for place in wanted[first:last]:
                yield found[place - before]
        before += len(batch)


def _batches(folder: Path) -> Iterator[tuple[int, Any]]:
    """The record batches of all splits, each with the index of its split."""
    import pyarrow  # type: ignore[import-untyped]

    for number, split in enumerate(SPLITS):
        for path in sorted((folder / split).glob("*.arrow")):
            try:
                with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as batches:
                    for batch in batches:
                        yield number, batch
            except (OSError, ValueError) as error:
                hint = "delete the folder and prepare again"
                raise DataError(Problem(str(path), f"cannot be read: {error}", hint)) from error


def _places(batch: Any) -> Iterator[tuple[str, int]]:
    return zip(batch["source"].to_pylist(), batch["line"].to_pylist(), strict=True)


def _hash(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
