"""The words of the command line: settings, the names among them, and lists that a shell took apart."""

import shlex
from collections.abc import Iterator, Sequence

from kit.config.errors import Problem

_OPENING, _CLOSING = "[{", "]}"


def pieces(words: Sequence[str]) -> Iterator[list[str]]:
    """The words, each alone, but together those that a shell made of one list or mapping: from the one that
    opens its brackets, as in `train.stages=[sft,`, to the one that closes them."""
    place = 0
    while place < len(words):
        _, equals, value = words[place].partition("=")
        end = place + 1
        if equals and value[:1] and value[0] in _OPENING:
            end = _closed(words, place, _depth(value))
        yield list(words[place:end])
        place = end


def settings_and_names(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are settings (`key=value`, or a piece of one), and the others."""
    settings: list[str] = []
    names: list[str] = []
    for parts in pieces(words):
        (settings if "=" in parts[0] else names).extend(parts)
    return settings, names


def taken_apart(parts: Sequence[str]) -> Problem:
    """What is said of one setting that arrived in several words."""
    whole = " ".join(parts)
    return Problem(
        f"command line: {whole}",
        f"the shell took this apart at its spaces, into {len(parts)} words",
        f"put it in quotes: {shlex.quote(whole)}",
    )


def _closed(words: Sequence[str], place: int, depth: int) -> int:
    """Where the words go on after the brackets that the one at `place` opens; the next word where no word
    closes them, for then they are no shell's work."""
    for end in range(place + 1, len(words)):
        if depth <= 0:
            return end
        depth += _depth(words[end])
    return len(words) if depth <= 0 else place + 1


def _depth(text: str) -> int:
    """How many brackets a text opens and does not close."""
    return sum(text.count(one) for one in _OPENING) - sum(text.count(one) for one in _CLOSING)
