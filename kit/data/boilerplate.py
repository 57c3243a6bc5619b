"""Sentences that stand in too many answers: a greeting or disclaimer that the model would learn first.

The rows' sentences are counted by hash; only rows that have a common one are read again.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from kit.data.check import Findings
from kit.data.quality import answers_of
from kit.data.rows import Row
from kit.data.same import normal
from kit.data.store import Entry, Store
from kit.data.words import words

BOILERPLATE_SHARE = 0.05
"""A sentence in more than this share of the rows' answers is boilerplate,"""
BOILERPLATE_ROWS = 20
"""if so many rows have it,"""
SHORTEST_SENTENCE = 4
"""and if it has so many words: "Thank you." is none."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")


class Sentences:
    """The sentences of all rows, as hashes of 8 bytes, row by row."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._ends = array("Q", [0])

    def add(self, hashes: Iterable[int]) -> None:
        """Those of the next row."""
        self._hashes.extend(hashes)
        self._ends.append(len(self._hashes))

    def of(self, number: int) -> "array[int]":
        return self._hashes[self._ends[number] : self._ends[number + 1]]

    def in_more_than(self, least: float) -> dict[int, int]:
        """The sentences that more rows have, and how many do."""
        hashes, counts = np.unique(np.frombuffer(self._hashes, dtype=np.uint64), return_counts=True)
        often = counts > least
        return dict(zip(hashes[often].tolist(), counts[often].tolist(), strict=True))


def sentence_hashes(row: Row) -> list[int]:
    """A hash of every distinct sentence of a row's answers, in the order in which they come."""
    return list(_sentences(row))


def check_boilerplate(
    entries: list[Entry], store: Store, sentences: Sentences, findings: Findings
) -> list[Entry]:
    """Count the rows whose answers have a sentence that too many others have; the entries that stay.

    A sentence is an example once, at the first row that has it, with the share of rows that do.

    Args:
        entries: all rows, numbered as in `sentences`.
        store: where their texts lie.
        sentences: the `sentence_hashes` of each.
        findings: where to count.
    """
    often = sentences.in_more_than(max(BOILERPLATE_ROWS, BOILERPLATE_SHARE * len(entries)))
    first: list[tuple[Entry, int]] = []
    later: list[tuple[Entry, int]] = []
    told: set[int] = set()
    for entry in entries if often else ():
        found = [which for which in sentences.of(entry.number) if which in often]
        if not found:
            continue
        which = next((each for each in found if each not in told), found[0])
        (later if which in told else first).append((entry, which))
        told.add(which)
    gone = set()
    for entry, which in [*first, *later]:
        row = store.row(entry)
        reason = _reason(_sentences(row)[which], often[which], len(entries))
        if not findings.found(row, "boilerplate", reason):
            gone.add(entry.number)
    return [entry for entry in entries if entry.number not in gone]


def _reason(sentence: str, count: int, rows: int) -> str:
    shown = sentence if len(sentence) <= 80 else f"{sentence[:77]}..."
    return f"{shown!r} stands in the answers of {count} of {rows} rows ({count / rows:.0%})"


def _sentences(row: Row) -> dict[int, str]:
    """The distinct sentences of a row's answers by their hashes."""
    return {_hash(normal(sentence)): sentence for sentence in _split(row)}


def _split(row: Row) -> Iterator[str]:
    for text in answers_of(row):
        for sentence in _SENTENCE_END.split(text):
            if len(words(sentence)) >= SHORTEST_SENTENCE:
                yield " ".join(sentence.split())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
