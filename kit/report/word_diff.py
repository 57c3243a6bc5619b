"""Where two answers differ, word by word."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from kit.data.words import CJK, LETTER
from kit.report.view_evidence import Piece, PieceKind

LEAST_ALIKE = 0.2
"""Answers that share fewer of their words are told apart whole: marks on every word would show nothing."""
MOST_MEETINGS = 20_000
"""Pairs of equal words in both answers, beyond which difflib would take seconds: an answer that repeats the
same words over and over, not one that says something. Two usual answers of 400 words have some 3,000.
"""

# Chinese and Japanese have no space between words: every character counts as one.
_WORD = re.compile(rf"\s+|(?:[{CJK}]|{LETTER}+(?:[.,'’]{LETTER}+)*|[^\w\s])\s*")


def word_diff(base: str, tuned: str) -> tuple[list[Piece], list[Piece]] | None:
    """Both answers cut into pieces: what they share, what only base says, what only tuned says.

    The pieces of an answer put together are the answer. Space between words is no difference.

    Returns:
        None where the two have under a fifth of their words in common (difflib's ratio), or meet in more than
        `MOST_MEETINGS` pairs of words.
    """
    if base == tuned:
        same = [Piece(base, "same")] if base else []
        return same, same
    left, right = _WORD.findall(base), _WORD.findall(tuned)
    if _meetings(left, right) > MOST_MEETINGS:
        return None
    matcher = SequenceMatcher(
        None, [word.strip() for word in left], [word.strip() for word in right], autojunk=False
    )
    if matcher.ratio() < LEAST_ALIKE:
        return None
    removed: list[Piece] = []
    added: list[Piece] = []
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        removed += _pieces(left[start:end], "same" if kind == "equal" else "removed")
        added += _pieces(right[other_start:other_end], "same" if kind == "equal" else "added")
    return removed, added


def _meetings(left: Sequence[str], right: Sequence[str]) -> int:
    counts = Counter(word.strip() for word in left)
    return sum(counts[word.strip()] for word in right)


def _pieces(words: Sequence[str], kind: PieceKind) -> Iterator[Piece]:
    """A run of words as one piece; the space behind it is marked by nobody."""
    text = "".join(words)
    if kind == "same":
        if text:
            yield Piece(text, "same")
        return
    said = text.rstrip()
    if said:
        yield Piece(said, kind)
    if len(said) < len(text):
        yield Piece(text[len(said) :], "same")
