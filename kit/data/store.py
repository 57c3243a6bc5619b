"""Where rows wait between the checks: on disk, so that data larger than memory can be prepared.

A row's texts are read when they are needed; in memory stays an `Entry`, about a kilobyte of hashes and
numbers. The file has no name: whatever ends the process, nothing is left behind.
"""

import os
import pickle
import tempfile
from bisect import insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

from kit.config.errors import DataError, Problem
from kit.config.schema_train import Stage
from kit.data.rows import Rejection, Row, SplitName
from kit.data.same import Keys


@dataclass(slots=True, eq=False)
class Entry:
    """What the checks across rows need to know of a row."""

    number: int
    """Its place among all rows that are sound in themselves, in the order of the sources."""
    source: str
    line: int
    part: int
    """The index of its source in `data.sources`."""
    split: SplitName
    group: str
    named: bool
    """Whether a column names the group; else rows that ask the same are one."""
    document: bool
    learned: Literal["answer", "pair", "label"]
    """What the row teaches: its answers, which of two is better, or whether one is good."""
    stages: tuple[Stage, ...]
    """Those that learn from it."""
    tokens: int
    all_tokens: int
    trained_tokens: int
    samples: int
    tokens_before: int
    """0, or its length before a too long dialogue was cut into samples or its prompt shortened."""
    missing: tuple[str, ...]
    """Columns of `data.expected` without a value."""
    keys: Keys
    asks: int = 0
    """Where the marks of its prompts begin among those of all rows (`kit.data.neighbours`)."""
    offset: int = 0
    size: int = 0

    @property
    def where(self) -> str:
        return f"{self.source}:{self.line}"


class Store:
    """Pickled values in a temporary file, each found again by its offset and size."""

    def __init__(self) -> None:
        with _told("a folder for temporary files"):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the store)
        self._end = 0
        self._unwritten = False

    def add(self, pickled: bytes) -> tuple[int, int]:
        """Append a value; its offset and size."""
        offset = self._end
        with _told(tempfile.gettempdir()):
            self._file.write(pickled)
        self._end += len(pickled)
        self._unwritten = True
        return offset, len(pickled)

    def load(self, offset: int, size: int) -> Any:
        if self._unwritten:
            with _told(tempfile.gettempdir()):
                self._file.flush()
            self._unwritten = False
        return pickle.loads(os.pread(self._file.fileno(), size, offset))  # noqa: S301 (our own file)

    def row(self, entry: Entry) -> Row:
        """The whole row of an entry."""
        row: Row = self.load(entry.offset, entry.size)
        return row

    def rows(self, entries: Sequence[Entry]) -> Iterator[Row]:
        return map(self.row, entries)

    def put(self, entry: Entry, pickled: bytes) -> None:
        """Append the row of an entry."""
        entry.offset, entry.size = self.add(pickled)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Say where there is no room, and what gives more."""
    try:
        yield
    except OSError as error:
        message = f"rows cannot be kept there until they are compared: {error.strerror}"
        hint = "the temporary file takes about as much as the data; make room, or set TMPDIR to a larger disk"
        raise DataError(Problem(place, message, hint)) from error


class Rejections(Sequence[Rejection]):
    """Rows that were turned away, on disk as well; listed by source, in the order of its lines."""

    def __init__(self, sources: Sequence[str] = ()) -> None:
        self._sources = {name: number for number, name in enumerate(sources)}
        self._places: list[tuple[int, int, int, int]] = []
        self._store = Store()

    def append(self, rejection: Rejection) -> None:
        name, _, line = rejection.where.rpartition(":")
        source = self._sources.setdefault(name, len(self._sources))
        place = source, int(line), *self._store.add(pickle.dumps(rejection))
        insort(self._places, place)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Rejection: ...

    @overload
    def __getitem__(self, index: slice) -> list[Rejection]: ...

    def __getitem__(self, index: int | slice) -> Rejection | list[Rejection]:
        if isinstance(index, slice):
            return [self._load(place) for place in self._places[index]]
        return self._load(self._places[index])

    def _load(self, place: tuple[int, int, int, int]) -> Rejection:
        _, _, offset, size = place
        rejection: Rejection = self._store.load(offset, size)
        return rejection
