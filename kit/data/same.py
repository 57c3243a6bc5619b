"""What counts as the same text: the comparison behind duplicates, conflicts, overlap and splits."""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kit.data.rows import Message, is_document


def normal(text: str) -> str:
    """Text as it is compared: Unicode NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key(messages: Sequence[Message]) -> str:
    """A hash that messages share exactly when roles and normal texts are equal."""
    *_, last = _prefix_keys(messages)
    return last


def turns_of(messages: Sequence[Message]) -> Sequence[Message]:
    """The dialogue without its system message: what was asked and answered, whoever was told to answer."""
    return messages[1:] if messages[0]["role"] == "system" else messages


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
            yield before, normal(message["content"])


def before_answer(turns: Sequence[Message], answer: int) -> Sequence[Message]:
    """The turns before an answer, counted from 0."""
    places = [place for place, message in enumerate(turns) if message["role"] == "assistant"]
    return turns[: places[answer]]


def _prefix_keys(messages: Sequence[Message]) -> Iterator[str]:
    """The key of no message, of the first, of the first two, and so on; every text is read once."""
    state = hashlib.blake2b(digest_size=16)
    yield state.hexdigest()
    for number, message in enumerate(messages):
        text = f"{message['role']}\1{normal(message['content'])}"
        state.update((f"\0{text}" if number else text).encode())
        yield state.hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """The hashes by which rows are compared; rows share one exactly when they share what it is of."""

    whole: bytes
    """Of all messages, and of the rejected answer or the label."""
    prompt: bytes
    """Of all but the last, the system message included: what other rows must not answer differently. Of a
    pair with its two answers, whichever is the better; of a labelled answer with the answer."""
    told: bytes
    """Of the system message and the label; empty without them."""
    answers: tuple[tuple[bytes, bytes], ...]
    """For every assistant turn: of the turns before it, the system message aside, and of the answer; last
    of a labelled answer, of the label."""

    @property
    def asked(self) -> bytes:
        """Of what the dialogue asks in the end, whatever its system message; of a document, of itself."""
        return self.answers[-1][0]

    @property
    def answer(self) -> bytes:
        """Of the last answer."""
        return self.answers[-1][1]


def keys_of(messages: Sequence[Message], rejected: Message | None = None, label: bool | None = None) -> Keys:
    """The keys of a row whose messages are in order.

    Args:
        messages: the dialogue, of a pair with the chosen answer.
        rejected: the other answer of a pair.
        label: whether the answer is a good one, where that is what is learned.
    """
    told = "" if turns_of(messages) is messages else normal(messages[0]["content"])
    whole, prompt = key(messages), key(messages[:-1])
    answers = tuple((bytes.fromhex(before), _hash(answer)) for before, answer in answered(messages))
    if rejected is not None:
        sides = [key([messages[-1]]), key([rejected])]
        whole, prompt = f"{whole}{sides[1]}", f"{prompt}{''.join(sorted(sides))}"
    if label is not None:
        # One answer with two labels is to them what one prompt with two answers is to others.
        answers = (*answers[:-1], (answers[-1][0], _hash(str(label))))
        whole, prompt, told = f"{whole}{label}", whole, f"{told}\0{label}"
    if rejected is not None or label is not None:
        whole, prompt = _hash(whole).hex(), _hash(prompt).hex()
    return Keys(bytes.fromhex(whole), bytes.fromhex(prompt), _hash(told) if told else b"", answers)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
