"""JSON as it is found in data: what `json` would accept but nobody can have meant is named, not lost."""

import json
from typing import Any

DEEPEST = 100
"""Levels of lists and objects; a dialogue needs five."""


class _Repeated(dict[str, Any]):
    """An object that has a key twice, of which `json` keeps the last."""

    twice = ""


def parse(text: str) -> Any:
    """The value of a JSON text; ask `fault` before it is used.

    Raises:
        ValueError: it is not JSON, or nested beyond what the parser can follow.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at a place in a text, as `parse` has it, and where it ends."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def not_json(error: json.JSONDecodeError) -> str:
    """What is wrong and where in its line; some of Python's messages end in `at`, others do not."""
    return f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"


def fault(value: Any) -> str:
    """Why a parsed value cannot be used, or nothing: a key that stands twice, or absurd nesting."""
    level = [value]
    for _ in range(DEEPEST):
        repeated = next(filter(None, map(repeated_key, level)), "")
        if repeated:
            return repeated
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return ""
    return "JSON nested too deeply"


def repeated_key(value: Any) -> str:
    """The fault of an object that has a key twice itself, or nothing."""
    return f"the key {value.twice!r} stands twice in one object" if isinstance(value, _Repeated) else ""


def _inside(value: Any) -> list[Any]:
    """The lists and objects directly in a list or an object."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, (dict, list))]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    names = [name for name, _ in pairs]
    repeated = _Repeated(value)
    repeated.twice = next(name for name in names if names.count(name) > 1)
    return repeated


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
