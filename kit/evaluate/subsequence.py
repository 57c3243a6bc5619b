"""The longest common subsequence of two texts."""

from collections.abc import Sequence


def longest_common_subsequence(one: Sequence[str], two: Sequence[str]) -> int:
    """How many elements the longest common subsequence has.

    Bits of one integer stand for the places of `one`, so that a row of the table is a few operations.
    Source: Hyyrö, AWOCA 2004 (bit-parallel LCS).
    """
    places: dict[str, int] = {}
    for place, element in enumerate(one):
        places[element] = places.get(element, 0) | (1 << place)
    every = (1 << len(one)) - 1
    open_ = every
    for element in two:
        met = open_ & places.get(element, 0)
        open_ = ((open_ + met) | (open_ - met)) & every
    return len(one) - open_.bit_count()
