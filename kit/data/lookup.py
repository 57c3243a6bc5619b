"""Finding one row of prepared data: by its number in a split, its id, or the file and line it came from."""

import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kit.config.errors import DataError, Problem
from kit.data.prepared import PreparedRow, load_rows, load_table
from kit.data.rows import SPLITS, Rejection

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Place:
    """A prepared row, and where it stands."""

    split: str
    number: int
    """From 0, in the order of the split's file."""
    row: PreparedRow


def find_rows(folder: Path, word: str, split: str | None = None) -> list[Place]:
    """The rows that `word` names.

    Args:
        folder: of the prepared data.
        word: a row's number in its split, an id as in reports and predictions, or `file:line` as in
            messages.
        split: where to look; None is train for a number, else every split.

    Returns:
        One row for a number. Several where rows have the same messages, or one line gave several rows;
        none where a `file:line` gave none.

    Raises:
        DataError: there is no such split, number or id.
    """
    if word.isdecimal() and not _ID.fullmatch(word):
        return [_numbered(folder, split or "train", int(word))]
    places = [place for name in ([split] if split else SPLITS) for place in _matching(folder, name, word)]
    if not places and _ID.fullmatch(word):
        where = split or "any split"
        hint = "it may be of data prepared before; a rejected row has no id: use its file:line"
        raise DataError(Problem("", f"no row of {where} has the id {word}", hint))
    return places


def _numbered(folder: Path, split: str, number: int) -> Place:
    count = len(load_table(folder, split))
    if number >= count:
        raise DataError(f"{split} has {count} rows, numbered from 0: there is no number {number}")
    return Place(split, number, load_rows(folder, split, [number])[0])


def _matching(folder: Path, split: str, word: str) -> list[Place]:
    table = load_table(folder, split).data  # Arrow's own columns: a million values in a moment
    source, _, line = word.rpartition(":")
    if _ID.fullmatch(word):
        numbers = [number for number, found in enumerate(table["id"].to_pylist()) if found == word]
    elif source and line.isdecimal():
        places = zip(table["source"].to_pylist(), table["line"].to_pylist(), strict=True)
        numbers = [number for number, place in enumerate(places) if place == (source, int(line))]
    else:
        hint = "give its number in the split, its id (16 hex digits), or file:line"
        raise DataError(Problem(word, "names no row", hint))
    rows = load_rows(folder, split, numbers)
    return [Place(split, number, row) for number, row in zip(numbers, rows, strict=True)]


def rejected_row(folder: Path, number: int) -> Rejection:
    """A line of `rejected.jsonl`, numbered from 0.

    Raises:
        DataError: fewer rows were rejected.
    """
    path = folder / "rejected.jsonl"
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, number, number + 1):
            return Rejection(**json.loads(line))
    with path.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    raise DataError(f"{count} rows were rejected, numbered from 0: there is no number {number}")


def rejected_at(folder: Path, where: str) -> list[Rejection]:
    """The rejections of a `file:line`; none if it was not rejected."""
    with (folder / "rejected.jsonl").open(encoding="utf-8") as lines:
        found = (Rejection(**json.loads(line)) for line in lines)
        return [rejection for rejection in found if rejection.where == where]
