"""The training prompts that a test prompt is most like: nearly the same, or the nearest of all.

Candidates are chosen by their MinHash marks, of every training prompt; the exact Jaccard index of their
four-letter pieces decides. Nothing is drawn, and of equally alike ones the first row wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kit.data.near import HASHES, alikeness, pieces
from kit.data.neighbours import marks_of
from kit.data.prepared import load_table, unpacked
from kit.data.rows import Message
from kit.data.same import before_answer, turns_of
from kit.data.tools import said
from kit.evaluate.prompts import Prompt
from kit.evaluate.training import Training

if TYPE_CHECKING:
    from datasets import Dataset

_COMPARED = 32
"""So many candidates are compared piece by piece, the most alike by their marks first."""
_SLACK = 0.1
"""Three standard errors of the index as 126 hashes estimate it; one further off is not looked at."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Alike:
    """A training prompt and how like a test prompt it is."""

    row: int
    """Its row's number in the training split."""
    turns: Sequence[Message]
    """Its row's, without a system message."""
    end: int
    """Which of the row's answers, from 0, follows the prompt."""
    where: str
    """Its row's place, `file:line`."""
    similarity: float
    """0 to 1: of `near` that of the turn least alike, of `nearest` that of all turns together."""

    @property
    def asked(self) -> list[str]:
        """The turns before the answer."""
        return [said(turn) for turn in before_answer(self.turns, self.end)]

    @property
    def answer(self) -> str:
        """What is answered there."""
        return said([turn for turn in self.turns if turn["role"] == "assistant"][self.end])


@dataclass(frozen=True)
class MostAlike:
    """What a test prompt is like among the training prompts."""

    near: Alike | None
    """The most alike that means the same and is alike by the threshold: the data checks' own rule."""
    nearest: Alike | None
    """The most alike that has an answer to give, however little; None where no training row asks anything."""


def most_alike(prompts: Sequence[Prompt], training: Training, threshold: float) -> list[MostAlike]:
    """For every prompt what it is like.

    Args:
        threshold: the least index of a near prompt, 0 to 1.
    """
    everything = np.arange(len(training.asks))
    if not len(everything):
        return [MostAlike(None, None) for _ in prompts]
    values, meanings = training.asks.values(), training.asks.meanings(everything)
    usable = np.array(training.usable, dtype=np.bool_)
    rows = _Rows(training, load_table(training.folder, "train"))
    found = []
    for prompt in prompts:
        turns = [said(turn) for turn in turns_of(prompt.messages)]
        if not turns:
            found.append(MostAlike(None, None))
            continue
        meaning, mark = marks_of(turns)[-1]
        equal = _equal(values, np.frombuffer(mark, dtype=np.uint8))
        close = (meanings == np.uint64(meaning)) & (equal >= (threshold - _SLACK) * HASHES)
        near = _first(equal, np.flatnonzero(close))
        nearest = _first(equal, np.flatnonzero(usable))
        found.append(MostAlike(_near(turns, rows.at(near), threshold), _nearest(turns, rows.at(nearest))))
    return found


def _equal(values: Bytes, mark: Bytes) -> NDArray[np.int64]:
    """How many of its bytes a mark shares with each of the others."""
    return np.asarray(np.count_nonzero(values == mark, axis=1), dtype=np.int64)


def _first(equal: NDArray[np.int64], among: NDArray[np.int64]) -> list[int]:
    """The most alike by their marks, of equally alike ones the first."""
    chosen: list[int] = among[np.argsort(-equal[among], kind="stable")[:_COMPARED]].tolist()
    return chosen


def _near(turns: list[str], candidates: list[Alike], threshold: float) -> Alike | None:
    best: Alike | None = None
    for candidate in candidates:
        asked = candidate.asked
        index = alikeness(turns, asked, threshold) if len(asked) == len(turns) else None
        if index is not None and (best is None or index > best.similarity):
            best = replace(candidate, similarity=index)
    return best


def _nearest(turns: list[str], candidates: list[Alike]) -> Alike | None:
    best: Alike | None = None
    own = _pieces(turns)
    for candidate in candidates:
        other = _pieces(candidate.asked)
        index = len(own & other) / len(own | other)
        if best is None or index > best.similarity:
            best = replace(candidate, similarity=index)
    return best


def _pieces(turns: Sequence[str]) -> set[tuple[int, str]]:
    return {(number, piece) for number, text in enumerate(turns) for piece in pieces(text)}


@dataclass(frozen=True)
class _Rows:
    """The training rows on disk, by the numbers of their prompts."""

    training: Training
    table: "Dataset"

    def at(self, numbers: list[int]) -> list[Alike]:
        """In the order of the rows, so that of equally alike ones the first wins."""
        return [self._one(number) for number in sorted(numbers)]

    def _one(self, number: int) -> Alike:
        row = self.training.rows[number]
        found = unpacked(self.table[row])
        where = f"{found['source']}:{found['line']}"
        return Alike(row, turns_of(found["messages"]), self.training.ends[number], where, 0.0)
