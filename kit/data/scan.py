"""Looking for numbers that people write in groups, with other numbers beside them."""

import re
from collections.abc import Callable, Iterator

Span = tuple[int, int, str]
"""Where a value begins and ends, and what it is when written in one way only."""

_SAID_WITHIN = 40  # characters


def scan(pattern: re.Pattern[str], text: str, accept: Callable[[int, int], str | None]) -> Iterator[Span]:
    """The longest acceptable beginning of every candidate, cut between its groups only.

    `4111 1111 1111 1111 12` is a card number and something else. Where no beginning will do, the search
    goes on behind the candidate's first group.

    Args:
        pattern: what a candidate looks like at most.
        text: where to look.
        accept: the value between two places in its one form, or None if it is none.
    """
    at = 0
    while candidate := pattern.search(text, at):
        start = candidate.start()
        ends = [start + gap.start() for gap in _GAP.finditer(candidate[0], 1)]
        for end in (candidate.end(), *reversed(ends)):
            key = accept(start, end)
            if key:
                yield start, end, key
                at = end
                break
        else:
            at = ends[0] + 1 if ends else candidate.end()


def said_before(text: str, start: int, words: re.Pattern[str]) -> bool:
    """Whether one of the words stands shortly before, in the same line and with no digit between."""
    before = text[max(0, start - _SAID_WITHIN) : start]
    return words.search(_SAME_LINE.split(before)[-1]) is not None


def digits(text: str) -> str:
    """The ASCII digits of a text."""
    return _NO_DIGIT.sub("", text)


_GAP = re.compile(r"[^0-9A-Za-z]+(?=[0-9A-Za-z])")
_SAME_LINE = re.compile(r"[\n\d]")
_NO_DIGIT = re.compile(r"[^0-9]+")
