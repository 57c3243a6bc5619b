"""Where two versions of a file differ, named so that a reader finds the place."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kit.report.formatting import shortened, visible

ROUNDING = 1e-9
"""Relative; another machine may round the last digits of a bootstrap otherwise."""

_NAMES = ("name", "decoding", "column", "value", "id")
"""Keys by which an entry of a list is told from its neighbours."""
_AROUND = 40
_MOST_LINES = 5


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be: where, what, and from what to what."""

    where: str
    what: str
    recorded: str = ""
    """What the file says."""
    found: str = ""
    """What it should say."""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        return f"{text}: {self.recorded} → {self.found}" if self.recorded or self.found else text


def changed_values(file: str, stored: Any, again: Any) -> list[Difference]:
    """Every value of a JSON file that is another when it is made again."""
    what = "is not what comes out when it is made again"
    return [
        Difference(f"{file}: {path or 'as a whole'}", what, *_both_shown(old, new))
        for path, old, new in _compare(stored, again, "")
    ]


def changed_lines(file: str, stored: str, again: str) -> list[Difference]:
    """Lines of a text that are others when it is made again: the first ones, and how many there are."""
    if stored == again:
        return []
    old, new = stored.split("\n"), again.split("\n")
    length = max(len(old), len(new))
    old, new = ([*side, *[""] * (length - len(side))] for side in (old, new))
    places = [place for place in range(length) if old[place] != new[place]]
    found = [
        Difference(f"{file}:{place + 1}", "is not what the numbers give", *_around(old[place], new[place]))
        for place in places[:_MOST_LINES]
    ]
    if len(places) > _MOST_LINES:
        found.append(
            Difference(file, f"{len(places) - _MOST_LINES} more lines are not what the numbers give")
        )
    return found


class _Missing:
    """What stands for a value that one side does not have."""


_NONE = _Missing()


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _compare(
                old.get(key, _NONE), new.get(key, _NONE), f"{path}.{key}" if path else str(key)
            )
    elif isinstance(old, list) and isinstance(new, list) and (names := _by_name(old, new)):
        ours, theirs = names
        for name in dict.fromkeys([*ours, *theirs]):
            yield from _compare(ours.get(name, _NONE), theirs.get(name, _NONE), f"{path}[{name}]")
        shared = [[name for name in side if name in ours and name in theirs] for side in names]
        if shared[0] != shared[1]:
            yield f"{path}: order", ", ".join(shared[0]), ", ".join(shared[1])
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            mine = old[place] if place < len(old) else _NONE
            other = new[place] if place < len(new) else _NONE
            yield from _compare(mine, other, f"{path}[{_name(other if mine is _NONE else mine, place)}]")
    elif not _same(old, new):
        yield path, old, new


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, int | float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return bool(old == new)


def _by_name(old: list[Any], new: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The entries of two lists by what they are called; None where that does not tell them apart."""
    found = []
    for side in (old, new):
        if not all(isinstance(entry, dict) and _name(entry, -1) != "-1" for entry in side):
            return None
        found.append({_name(entry, -1): entry for entry in side})
        if len(found[-1]) != len(side):
            return None
    return found[0], found[1]


def _name(entry: Any, place: int) -> str:
    """How an entry of a list is called: by what tells it apart, or by its place from 0."""
    if not isinstance(entry, dict):
        return str(place)
    named = [str(entry[key]) for key in _NAMES if isinstance(entry.get(key), str)]
    return visible(", ".join(named)) or str(place)


def _both_shown(old: Any, new: Any) -> tuple[str, str]:
    """Two values for people; floats to six digits, if those tell them apart."""
    if isinstance(old, float) and isinstance(new, float) and f"{old:.6g}" != f"{new:.6g}":
        return f"{old:.6g}", f"{new:.6g}"
    return _shown(old), _shown(new)


def _shown(value: Any) -> str:
    if value is _NONE:
        return "nothing"
    text, left_out = shortened(visible(" ".join(str(value).split())), 2 * _AROUND)
    return f"{text}…" if left_out else text


def _around(old: str, new: str) -> tuple[str, str]:
    """Both lines near the first place where they differ."""
    shared = min(len(old), len(new))
    place = next((place for place in range(shared) if old[place] != new[place]), shared)
    start = max(0, place - _AROUND)
    return _cut(old, start), _cut(new, start)


def _cut(line: str, start: int) -> str:
    text = visible(line[start : start + 2 * _AROUND]).strip()
    return f"{'…' if start else ''}{text}{'…' if len(line) > start + 2 * _AROUND else ''}" or "nothing"
