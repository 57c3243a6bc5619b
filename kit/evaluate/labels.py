"""Which label of a closed set an answer gives: "Yes, it does", "The answer is: no", "See cardiology"."""

import re
from collections.abc import Sequence
from functools import lru_cache

from kit.evaluate.negation import negated
from kit.evaluate.text import normalise, phrase_pattern

_SAID = (
    r"\b(?:answer|label|decision|conclusion|classification|category|réponse|respuesta)"
    r"(?: (?:is|would be|est|es))?\s?[:=]?|答案(?:是|为)?[:：]?"
)
_SHORTEST_NAME = 4
"""Labels with fewer letters ("no", "sí") are words of any sentence: they count only where they answer."""


def given_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label of `labels` that an answer gives; None if it gives none or leaves two open.

    The label it begins with, else the last that "the answer is" introduces, else the only one that is
    named undenied anywhere, if its name is no short word.
    """
    text = normalise(answer)
    by_name = {normalise(label).casefold(): label for label in labels}
    names = _names(tuple(sorted(by_name, key=lambda name: (-len(name), name))))
    start = re.match(rf"\W*(?:the )?(?:final )?(?:{_SAID})?\W*", text, re.IGNORECASE)
    first = names.match(text, start.end() if start else 0)
    if first:
        return by_name[_name(first)]
    introduced = [
        found
        for said in re.finditer(_SAID, text, re.IGNORECASE)
        if (found := _after(names, text, said.end()))
    ]
    if introduced:
        return by_name[_name(introduced[-1])]
    named = {
        _name(found)
        for found in names.finditer(text)
        if (len(_name(found)) >= _SHORTEST_NAME or not found.group().isascii())
        and not negated(text, found.start(), found.end())
    }
    return by_name[named.pop()] if len(named) == 1 else None


@lru_cache(maxsize=64)
def _names(longest_first: Sequence[str]) -> re.Pattern[str]:
    """Any of the names as a whole; "non-urgent" is found before "urgent" is."""
    return re.compile("|".join(phrase_pattern(name, whole=True).pattern for name in longest_first), re.I)


def _after(names: re.Pattern[str], text: str, end: int) -> re.Match[str] | None:
    """The label right after an introduction, quoted or not."""
    gap = re.compile(r"[\s\"'«“(\[]*").match(text, end)
    return names.match(text, gap.end() if gap else end)


def _name(found: re.Match[str]) -> str:
    return " ".join(found.group().casefold().split())
