"""Which of a million texts may be nearly the same: candidates for `kit.data.near.similarity`, at linear cost.

Every text has a mark: what it must share with a near text (numbers, negations, how many turns) as one hash,
and the low bytes of 126 MinHash values (Broder 1997; b-bit minwise hashing, Li and König 2010). Six values
are a band; texts that share a band meet (Indyk and Motwani 1998). Where very many share one, such as rows
made from one template, they are sorted by the next band's values, and each meets only its nearest (the idea
of LSH Forest, Bawa et al. 2005): so the cost grows with the rows, not with their pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kit.data.near import BANDS, HASHES, ROWS, meaning_key, pieces

Mark = tuple[int, bytes]
"""What near texts share as a number of 64 bits, and a byte of each MinHash value."""

MEETINGS = 16
"""Texts on either side in the order of a band that a text meets: all, where fewer share the band."""
KEPT = 16
"""Neighbours of a text that are remembered."""
_SLACK = 0.1
"""Three standard errors of the index as 126 hashes estimate it; a candidate further off is not looked at."""
_AT_ONCE = 1 << 18  # pairs whose estimate is computed in one go: 64 MB
_SEED = 42

Indexes = NDArray[np.int64]


class Marks:
    """The marks of all rows, 134 bytes each."""

    def __init__(self) -> None:
        self._meanings = bytearray()
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // HASHES

    def extend(self, marks: Sequence[Mark]) -> None:
        for meaning, values in marks:
            self._meanings += meaning.to_bytes(8, "little")
            self._bytes += values

    def meanings(self, which: Indexes) -> NDArray[np.uint64]:
        return np.frombuffer(self._meanings, dtype="<u8")[which]

    def values(self) -> NDArray[np.uint8]:
        """Rows of HASHES bytes; no marks can be added while the array is there."""
        return np.frombuffer(self._bytes, dtype=np.uint8).reshape(-1, HASHES)


def marks_of(turns: Sequence[str]) -> list[Mark]:
    """The marks of a dialogue's beginnings: of its first turn, its first two, and so on."""
    from rensa import RMinHash

    minhash: RMinHash = RMinHash(num_perm=HASHES, seed=_SEED)
    marks = []
    for number, text in enumerate(turns):
        minhash.update([f"{number} {piece}" for piece in pieces(text)])
        values = np.array(minhash.digest(), dtype=np.uint32).astype(np.uint8)
        marks.append((meaning_key(turns[: number + 1]), values.tobytes()))
    return marks


@dataclass(frozen=True)
class Beginnings:
    """The marks of every text's beginnings. Where two texts are near turn by turn, so is every beginning:
    two questions that differ are told apart by it though they got the same long answer.
    """

    marks: Marks
    first: Indexes
    """The place in `marks` of a text's shortest beginning; longer ones follow."""
    count: Indexes
    """How many beginnings a text has, 0 or more."""

    def least_equal(self, equal: NDArray[np.uint8], later: Indexes, earlier: Indexes) -> NDArray[np.uint8]:
        """The least number of equal bytes of the whole and of any beginning, pair by pair."""
        values, shared = self.marks.values(), np.minimum(self.count[later], self.count[earlier])
        for beginning in range(int(shared.max(initial=0))):
            pairs = np.flatnonzero(shared > beginning)
            left, right = self.first[later[pairs]] + beginning, self.first[earlier[pairs]] + beginning
            equal[pairs] = np.minimum(equal[pairs], _equal(values, left, right))
        return equal


@dataclass(frozen=True)
class Neighbours:
    """For every text the earlier ones that may be near it."""

    starts: Indexes
    earlier: Indexes = field(repr=False)

    def of(self, number: int) -> list[int]:
        """The most alike first; of equally alike ones the first."""
        found: list[int] = self.earlier[self.starts[number] : self.starts[number + 1]].tolist()
        return found


def find_neighbours(
    marks: Marks,
    which: Indexes,
    threshold: float,
    salts: NDArray[np.uint64] | None = None,
    held_out: NDArray[np.int8] | None = None,
    beginnings: Beginnings | None = None,
) -> Neighbours:
    """Candidates among texts in an order of theirs.

    Args:
        marks: of all texts.
        which: the texts' places in `marks`; the numbers below and in the result are places in this.
        threshold: the least Jaccard index that matters.
        salts: texts with different ones never meet.
        held_out: which set each text is held out for, 0 for none. Only held-out texts are found, by texts
            of other sets. None finds all.
        beginnings: of the texts, which must be as near as the whole.

    Returns:
        For each text the `KEPT` that are most alike of those that share a band and whose index is estimated
        within 0.1 of the threshold or above, that of every beginning too; where more than `MEETINGS` texts
        share a band, only its nearest in the band's order are looked at.
    """
    meanings = marks.meanings(which)
    if salts is not None:
        meanings = meanings ^ salts
    values = marks.values()[which]
    count = max(len(which), 1)
    codes = np.empty(0, dtype=np.int64)  # later * count + earlier
    equal = np.empty(0, dtype=np.uint8)  # of HASHES bytes
    least = (threshold - _SLACK) * (1 - 1 / 256) + 1 / 256  # as many are equal by chance
    for band in range(BANDS):
        found, shares = [codes], [equal]
        for met in _meetings(values, meanings, band, None if held_out is None else held_out > 0):
            later, earlier = met // count, met % count
            shared = _equal(values, later, earlier)
            near = shared >= least * HASHES
            if held_out is not None:
                near &= held_out[later] != held_out[earlier]
            met, shared = met[near], shared[near]
            if beginnings is not None:
                shared = beginnings.least_equal(shared, later[near], earlier[near])
                near = shared >= least * HASHES
                met, shared = met[near], shared[near]
            found.append(met)
            shares.append(shared)
        codes, first = np.unique(np.concatenate(found), return_index=True)
        codes, equal = _most_alike(codes, np.concatenate(shares)[first], count)
    starts = np.searchsorted(codes // count, np.arange(count + 1))
    return Neighbours(starts, codes % count)


def _most_alike(codes: Indexes, equal: NDArray[np.uint8], count: int) -> tuple[Indexes, NDArray[np.uint8]]:
    """The first `KEPT` pairs of each text by how alike they are, of equally alike ones the earliest.

    Args:
        codes: in order, each once.
        equal: how many bytes are, pair by pair.
    """
    later = codes // count
    order = np.argsort(later * (HASHES + 1) + (HASHES - equal.astype(np.int64)), kind="stable")
    later = later[order]
    place = np.arange(len(later)) - np.searchsorted(later, later)
    order = order[place < KEPT]
    return codes[order], equal[order]


def _meetings(
    values: NDArray[np.uint8],
    meanings: NDArray[np.uint64],
    band: int,
    partners: NDArray[np.bool_] | None,
) -> Iterator[Indexes]:
    """The pairs that a band brings together, as later * count + earlier, in parts."""
    count = len(meanings)
    keys = _hash(_band(values, band), meanings)
    order = np.argsort(keys, kind="stable")
    shared = _in_runs(keys[order])
    order = order[shared]
    order = order[np.lexsort((_band(values[order], (band + 1) % BANDS), keys[order]))]
    keys = keys[order]
    if partners is None:
        for distance in range(1, MEETINGS + 1):
            together = np.flatnonzero(keys[distance:] == keys[:-distance])
            if not len(together):
                return
            yield _codes(order[together], order[together + distance], count)
        return
    found = np.flatnonzero(partners[order])
    after = np.searchsorted(found, np.arange(len(order)), side="right")
    before = np.searchsorted(found, np.arange(len(order)), side="left") - 1
    for side, step in ((after, 1), (before, -1)):
        for distance in range(MEETINGS):
            at = side + step * distance
            here = np.flatnonzero((at >= 0) & (at < len(found)))
            there = found[at[here]]
            together = keys[here] == keys[there]
            if not together.any():
                break
            yield _codes(order[here[together]], order[there[together]], count)


def _codes(left: Indexes, right: Indexes, count: int) -> Indexes:
    return np.unique(np.maximum(left, right) * count + np.minimum(left, right))


def _in_runs(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of sorted keys stand beside an equal one."""
    same = keys[1:] == keys[:-1]
    shared = np.zeros(len(keys), dtype=np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    return shared


def _band(values: NDArray[np.uint8], band: int) -> NDArray[np.uint64]:
    """The six bytes of a band as one number; texts that share the first of them are close in its order."""
    number = np.zeros(len(values), dtype=np.uint64)
    for column in values[:, band * ROWS : (band + 1) * ROWS].T:
        number = (number << np.uint64(8)) | column
    return number


def _hash(band: NDArray[np.uint64], meanings: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Both as one number (the finaliser of MurmurHash3, which no two inputs share)."""
    mixed = band
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return mixed ^ meanings


def _equal(values: NDArray[np.uint8], left: Indexes, right: Indexes) -> NDArray[np.uint8]:
    """How many bytes of two marks are equal, pair by pair: by their share the Jaccard index is estimated."""
    equal = np.empty(len(left), dtype=np.uint8)
    for start in range(0, len(left), _AT_ONCE):
        end = start + _AT_ONCE
        equal[start:end] = (values[left[start:end]] == values[right[start:end]]).sum(axis=1, dtype=np.uint8)
    return equal
