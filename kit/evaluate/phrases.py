"""Whether an answer says one of several phrases, undenied."""

from collections.abc import Iterable, Iterator

from kit.evaluate.negation import negated, stated
from kit.evaluate.text import phrase_pattern


def states_one(phrases: Iterable[object], text: str) -> bool:
    """Whether one of the phrases is said as a fact in a normalised text; a limit ("not after 30 days") is."""
    return any(stated(text, *place) for place in _places(phrases, text))


def says_one(phrases: Iterable[object], text: str) -> bool:
    """Whether one of the phrases stands in a normalised text and is not denied there."""
    return any(not negated(text, *place) for place in _places(phrases, text))


def _places(phrases: Iterable[object], text: str) -> Iterator[tuple[int, int]]:
    for phrase in phrases:
        yield from (found.span() for found in phrase_pattern(str(phrase)).finditer(text))
