"""Packing: every sample once, no row over its capacity, as few rows as best-fit-decreasing promises."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.data.pack import pack

LENGTHS = st.integers(1, 40).flatmap(
    lambda capacity: st.tuples(st.just(capacity), st.lists(st.integers(1, capacity), max_size=60))
)


def filled(rows: list[list[int]], lengths: list[int]) -> list[int]:
    return [sum(lengths[index] for index in row) for row in rows]


@given(LENGTHS)
def test_every_sample_has_one_place_and_no_row_is_too_full(case) -> None:
    capacity, lengths = case
    rows = pack(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(0 < tokens <= capacity for tokens in filled(rows, lengths))
    assert rows == pack(tuple(lengths), capacity), "the same lengths, the same rows"


@given(LENGTHS)
def test_no_two_rows_fit_in_one(case) -> None:
    capacity, lengths = case
    tokens = sorted(filled(pack(lengths, capacity), lengths))
    assert all(one + other > capacity for one, other in pairwise(tokens))


@given(LENGTHS)
def test_the_rows_are_those_of_a_search_through_all_of_them(case) -> None:
    """Best fit, spelled out: each sample, longest first, goes where the least room is left."""
    capacity, lengths = case
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row, room in enumerate(rooms) if room >= length]
        if not fitting:
            rooms.append(capacity)
            fitting = [len(rooms) - 1]
        rooms[min(fitting, key=rooms.__getitem__)] -= length
    found = filled(pack(lengths, capacity), lengths)
    assert sorted(capacity - room for room in rooms) == sorted(found)


def fewest(lengths: list[int], capacity: int, rooms: tuple[int, ...] = ()) -> int:
    """The fewest rows there can be, by trying everything."""
    if not lengths:
        return len(rooms)
    first, rest = lengths[0], lengths[1:]
    best = fewest(rest, capacity, (*rooms, capacity - first))
    for room in {room for room in rooms if room >= first}:
        index = rooms.index(room)
        left = (*rooms[:index], room - first, *rooms[index + 1 :])
        best = min(best, fewest(rest, capacity, left))
    return best


@given(st.lists(st.integers(1, 20), max_size=8))
def test_rows_are_at_most_eleven_ninths_of_the_fewest(lengths) -> None:
    best = fewest(sorted(lengths, reverse=True), 20)
    assert 9 * len(pack(lengths, 20)) <= 11 * best + 6


def test_a_row_more_can_be_needed_than_the_fewest() -> None:
    lengths = [44, 24, 24, 22, 21, 17, 8, 8, 6, 6]
    assert (len(pack(lengths, 60)), fewest(lengths, 60)) == (4, 3), "it is a heuristic, and no search"
    assert len(pack(lengths, 62)) == 3


def test_a_million_samples_take_seconds_and_rows_are_full() -> None:
    draw = random.Random(1)
    lengths = [min(2048, max(1, round(draw.lognormvariate(5.2, 0.9)))) for _ in range(1_000_000)]
    began = time.process_time()
    rows = pack(lengths, 2048)
    assert time.process_time() - began < 30, "about 1 s on a laptop's core"
    assert sum(lengths) / (len(rows) * 2048) > 0.995
    assert sum(map(len, rows)) == len(lengths)


@pytest.mark.parametrize("length", [0, -1, 9])
def test_a_sample_that_fits_no_row_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match=f"sample 1 has {length} tokens; a row holds 1 to 8"):
        pack([3, length], 8)
