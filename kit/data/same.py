"""What counts as the same text: the comparison behind duplicates, conflicts, overlap and splits."""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kit.data.rows import Message, Tool, is_document
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


def before_answer(turns: Sequence[Message], answer: int) -> Sequence[Message]:
    """The turns before an answer, counted from 0."""
    places = [place for place, message in enumerate(turns) if message["role"] == "assistant"]
    return turns[: places[answer]]


def _prefix_keys(messages: Sequence[Message]) -> Iterator[str]:
    """The key of no message, of the first, of the first two, and so on; every text is read once."""
    state = hashlib.blake2b(digest_size=16)
    yield state.hexdigest()
    for number, message in enumerate(messages):
        text = f"{message['role']}\1{normal(said(message))}"
        state.update((f"\0{text}" if number else text).encode())
        yield state.hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """The hashes by which rows are compared; rows share one exactly when they share what it is of."""

    whole: bytes
    """Of all messages, with calls and reasoning, of the tools, and of the rejected answer or the label."""
    prompt: bytes
    """Of all but the last, the system message and the tools included: what other rows must not answer
    differently. Of a pair with its two answers, whichever is the better; of a labelled answer with the
    answer."""
    told: bytes
    """Of the system message, the tools and the label; empty without any."""
    beside: bytes
    """Of all tool calls and reasoning, letter by letter; empty without any."""
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


def keys_of(
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    rejected: Message | None = None,
    label: bool | None = None,
) -> Keys:
    """The keys of a row whose messages are in order.

    Args:
        messages: the dialogue, of a pair with the chosen answer.
        tools: the functions that may be called.
        rejected: the other answer of a pair.
        label: whether the answer is a good one, where that is what is learned.
    """
    told = "" if turns_of(messages) is messages else normal(messages[0]["content"])
    offered = json.dumps(tools, sort_keys=True) if tools else ""
    told += offered
    exactly = _exactly(messages if rejected is None else [*messages, rejected])
    whole, prompt = key(messages) + offered + exactly, key(messages[:-1]) + offered
    answers = tuple((bytes.fromhex(before), _hash(answer)) for before, answer in answered(messages))
    if rejected is not None:
        sides = [key([messages[-1]]), key([rejected])]
        whole, prompt = f"{whole}{sides[1]}", f"{prompt}{''.join(sorted(sides))}"
    if label is not None:
        # One answer with two labels is to them what one prompt with two answers is to others.
        answers = (*answers[:-1], (answers[-1][0], _hash(str(label))))
        whole, prompt, told = f"{whole}{label}", whole, f"{told}\0{label}"
    return Keys(
        whole=_hash(whole),
        prompt=_hash(prompt),
        told=_hash(told) if told else b"",
        beside=_hash(exactly) if exactly else b"",
        answers=answers,
    )


def _exactly(messages: Sequence[Message]) -> str:
    """All calls and reasoning as they stand; empty without any. Ids of calls are none of it."""
    beside = [
        [[call["function"] for call in message.get("tool_calls", ())], message.get("reasoning_content")]
        for message in messages
        if message.get("tool_calls") or message.get("reasoning_content")
    ]
    return json.dumps(beside, sort_keys=True) if beside else ""


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
