"""What counts as the same text: the comparison behind duplicates, conflicts, overlap and splits."""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence

from kit.data.rows import Message, is_document
from kit.data.tools import said, without_system


def normal(text: str) -> str:
    """Text as it is compared: Unicode NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key(messages: Sequence[Message]) -> str:
    """A hash that messages share exactly when roles and normal texts are equal."""
    *_, last = _prefix_keys(messages)
    return last


def turns_of(messages: Sequence[Message]) -> Sequence[Message]:
    """The dialogue without its system message: what was asked and answered, whoever was told to answer."""
    return without_system(messages)


def prompt_key(messages: Sequence[Message]) -> str:
    """A hash that dialogues share exactly when they ask the same in the end, the system message aside;
    a document asks itself.
    """
    return key(messages if is_document(messages) else turns_of(messages)[:-1])


def answered(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    """For every assistant turn, in order: the key of the turns before it, system message aside, and the
    answer as it is compared. A document counts as a question of its own, without an answer.
    """
    if is_document(messages):
        yield key(messages), ""
        return
    turns = turns_of(messages)
    for message, before in zip(turns, _prefix_keys(turns), strict=False):
        if message["role"] == "assistant":
            yield before, normal(said(message))


def _prefix_keys(messages: Sequence[Message]) -> Iterator[str]:
    """The key of no message, of the first, of the first two, and so on; every text is read once."""
    state = hashlib.blake2b(digest_size=16)
    yield state.hexdigest()
    for number, message in enumerate(messages):
        text = f"{message['role']}\1{normal(said(message))}"
        state.update((f"\0{text}" if number else text).encode())
        yield state.hexdigest()
