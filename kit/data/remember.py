"""What was worked out of the last texts, kept for when they come again."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_SHORT = 2000  # characters, or bytes
_SHORT_KEPT, _LONG_KEPT = 4096, 8  # so that pages of a book do not fill the memory


def remembered(size: Callable[[Any], int]) -> Callable[[Callable[[Key], Value]], Callable[[Key], Value]]:
    """A cache of the last results: of many for short texts, of few for long ones.

    Args:
        size: how long the text of a key is.
    """

    def decorate(function: Callable[[Key], Value]) -> Callable[[Key], Value]:
        short, long = lru_cache(_SHORT_KEPT)(function), lru_cache(_LONG_KEPT)(function)

        @wraps(function)
        def asked(key: Key) -> Value:
            return short(key) if size(key) <= _SHORT else long(key)

        return asked

    return decorate
