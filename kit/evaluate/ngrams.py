"""Shared n-grams of two texts, as counts that add up over prompts.

Own code, because intervals over groups need every answer's counts: sacreBLEU gives those of a whole
corpus only, and needs lxml. Its figures are matched to the last digit (the tests hold some).
"""

from collections import Counter
from collections.abc import Sequence

Parts = str | tuple[str, ...]
"""Characters or words; both can be cut into n-grams and counted."""


def ngram_counts(answer: Parts, reference: Parts, highest: int) -> list[list[float]]:
    """For each order from 1 to `highest`: n-grams of the answer, of the reference, and shared ones."""
    counts = []
    for order in range(1, highest + 1):
        given, wanted = _ngrams(answer, order), _ngrams(reference, order)
        shared = sum(min(count, wanted[gram]) for gram, count in given.items() if gram in wanted)
        counts.append([float(given.total()), float(wanted.total()), float(shared)])
    return counts


def _ngrams(parts: Parts, order: int) -> Counter[Parts]:
    return Counter(parts[start : start + order] for start in range(len(parts) - order + 1))


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
