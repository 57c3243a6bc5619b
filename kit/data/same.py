"""What counts as the same text: the comparison behind duplicates, conflicts, overlap and splits."""

import hashlib
import unicodedata
from collections.abc import Sequence

from kit.data.rows import Message


def normal(text: str) -> str:
    """Text as it is compared: Unicode NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key(messages: Sequence[Message]) -> str:
    """A hash that messages share exactly when roles and normal texts are equal."""
    text = "\0".join(f"{message['role']}\1{normal(message['content'])}" for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
