"""Dialogues over `model.max_length`: refused, turned away, trained in several samples, or with a shorter
prompt, as `data.over_length` says. An answer is never cut, and whatever is left out is told.

Samples of one dialogue overlap: where it is cut, the turns before stay as context, without loss, for an
answer without what it answers teaches to invent. Every answer carries loss in exactly one sample.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.answers import AnyRow, render_row
from kit.data.render import Rendered, TooLongError, render
from kit.data.rows import IGNORED, Message, Rejection, Row, Tool, reject
from kit.data.words import CJK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT = 0.5  # of max_length: room for turns before those that a sample trains, if there are so many
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")

Exchange = list[Message]
"""A user's message and all that follows it up to the next."""


@dataclass(frozen=True)
class Fitted:
    """A row as it is trained on."""

    messages: list[Message]
    """As they were found, or with a shorter prompt."""
    samples: list[Rendered]
    before: int = 0
    """Tokens that it had, if those were too many."""
    check: str = ""
    """The check that counts the change, and what it says; empty where nothing changed."""
    told: str = ""


def fit(row: Row, tokenizer: "PreTrainedTokenizerBase", config: Config) -> Fitted | Rejection:
    """The samples of a row, or why it cannot be trained on.

    Rows of valid and test stay whole or go: a prompt that is asked must be one that is served, and its
    labels belong to its last answer.

    Returns:
        A rejection by the check `too_long` or `template`, else the row with samples of at most
        `model.max_length` tokens.
    """
    limit, policy = config.model.max_length, config.data.over_length
    try:
        return Fitted(row.messages, render_row(row, tokenizer, limit))
    except TooLongError as error:
        before, reason = error.tokens, error.problems[0].message
    except DataError as error:
        return reject(row, "template", error.problems[0].message)
    if policy in ("error", "drop") or (policy == "split" and _is_one(row)):
        return reject(row, "too_long", reason)
    if row.split != "train":
        return reject(row, "too_long", f"{reason}; what {row.split} asks is asked whole")
    try:
        if policy == "split":
            samples = dialogue_samples(row.messages, tokenizer, config, row.tools)
            most = _longest(samples)
            told = f"{before} tokens became {len(samples)} samples of at most {most}"
            return Fitted(row.messages, samples, before, "in_samples", told)
        messages = shorter(row, tokenizer, limit, before)
        samples = render_row(replace(row, messages=messages), tokenizer, limit)
    except DataError as error:
        return reject(row, "too_long", f"{reason}; {error.problems[0].message}")
    told = f"{before} tokens became {_longest(samples)}; left out: {_left_out(row.messages, messages)}"
    return Fitted(messages, samples, before, "shortened", told)


def measure(row: Row, fitted: Fitted) -> None:
    """Set the row's messages as they are trained on, and its lengths."""
    lengths = [len(sample.input_ids) for sample in fitted.samples]
    row.messages = fitted.messages
    row.tokens, row.all_tokens, row.samples = max(lengths), sum(lengths), len(lengths)
    row.trained_tokens = sum(label != IGNORED for sample in fitted.samples for label in sample.labels)
    row.tokens_before = fitted.before


def samples_of(row: AnyRow, tokenizer: "PreTrainedTokenizerBase", config: Config) -> list[Rendered]:
    """What a prepared row is trained on; of a pair the chosen side first, then the rejected.

    Raises:
        DataError: the row is too long, or `render` refuses it.
    """
    if _is_one(row):
        return render_row(row, tokenizer, config.model.max_length)
    return dialogue_samples(row.messages, tokenizer, config, row.tools)


def _is_one(row: AnyRow) -> bool:
    """Whether a row is learned as one, as a pair and a labelled answer are."""
    return row.rejected is not None or row.label is not None


def dialogue_samples(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    config: Config,
    tools: Sequence[Tool] = (),
) -> list[Rendered]:
    """What a dialogue is trained on: as `render`, or in more samples where `data.over_length` is `split`.

    Raises:
        DataError: the dialogue is too long, with `split` one exchange alone; or `render` refuses it.
    """
    limit = config.model.max_length
    try:
        return render(messages, tokenizer, limit, tools)
    except TooLongError as error:
        if config.data.over_length != "split":
            raise
        # Pretraining learns every token, so one that is context would be learned twice.
        context = 0.0 if config.train.names == ["pretrain"] else _CONTEXT
        dialogue = _Dialogue(
            messages, tokenizer, lambda part: render(part, tokenizer, limit, tools), limit, error.tokens
        )
        return dialogue.samples(context)


def shorter(row: Row, tokenizer: "PreTrainedTokenizerBase", limit: int, before: int) -> list[Message]:
    """The row's dialogue without its oldest exchanges, and if that is not enough without the first words of
    the user message that is left. The system message and the last answer stay whole.

    Args:
        row: its longest sample has `before` tokens, more than `limit`; of a pair both answers must fit.

    Raises:
        DataError: the last answer alone is too long.
    """

    def rendered(messages: list[Message]) -> list[Rendered]:
        return render_row(replace(row, messages=messages), tokenizer, limit)

    return _Dialogue(row.messages, tokenizer, rendered, limit, before).shorter()


class _Dialogue:
    """A dialogue in exchanges, their lengths estimated, so that few ways to cut it need be rendered."""

    def __init__(
        self,
        messages: Sequence[Message],
        tokenizer: "PreTrainedTokenizerBase",
        rendered: Callable[[list[Message]], list[Rendered]],
        limit: int,
        tokens: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.rendered = rendered
        self.limit = limit
        self.system = list(messages[:1]) if messages[0]["role"] == "system" else []
        self.exchanges: list[Exchange] = []
        for message in messages[len(self.system) :]:
            if message["role"] == "user":
                self.exchanges.append([])
            self.exchanges[-1].append(message)
        texts = [self._length(message) for message in messages]
        beside = max(tokens - sum(texts), 0) / len(messages)  # what the template writes round a message
        self.base = sum(map(self._length, self.system)) + beside * len(self.system)
        self.costs = [sum(self._length(message) + beside for message in one) for one in self.exchanges]

    def samples(self, context: float) -> list[Rendered]:
        samples: list[Rendered] = []
        begin = 0
        while begin < len(self.exchanges):
            first, end = self._window(begin, context)
            window, first, end = self._exact(first, begin, end, context)
            known = sum(
                message["role"] == "assistant" for one in self.exchanges[first:begin] for message in one
            )
            samples += _without_loss(window, known)
            begin = end
        return samples

    def _window(self, begin: int, context: float) -> tuple[int, int]:
        """The first exchange of a sample and the one after its last, as far as estimates can tell."""
        first = begin
        room = self.limit * context - self.base
        while (
            first and self._cost(first - 1, begin) <= room and self._cost(first - 1, begin + 1) <= self._room
        ):
            first -= 1
        end = begin + 1
        while end < len(self.exchanges) and self._cost(first, end + 1) <= self._room:
            end += 1
        return first, end

    def _exact(self, first: int, begin: int, end: int, context: float) -> tuple[list[Rendered], int, int]:
        """The samples of the exchanges, and which they are: fewer where the estimate was too low, as many
        more as fit."""
        while (found := self._render(first, end)) is None:
            if first < begin:
                first += 1
            elif end > begin + 1:
                end -= 1
            else:
                turn = sum(map(len, self.exchanges[:begin])) + 1
                raise DataError(Problem("", f"turn {turn} and its answer alone do not fit"))
        while end < len(self.exchanges) and (more := self._render(first, end + 1)):
            found, end = more, end + 1
        while context and first and (more := self._render(first - 1, end)):
            found, first = more, first - 1
        return found, first, end

    def shorter(self) -> list[Message]:
        last = len(self.exchanges) - 1
        first = 1
        while first < last and self._cost(first, last + 1) > self._room:
            first += 1
        while first <= last and self._render(first, last + 1) is None:
            first += 1
        if first > last:
            return self._shorter_question()
        while first > 1 and self._render(first - 1, last + 1):
            first -= 1
        return self._messages(first, last + 1)

    def _shorter_question(self) -> list[Message]:
        """The last exchange with the first words of its question left out."""
        question, *answers = self.exchanges[-1]
        text = question["content"]
        starts = [word.start() for word in _WORD.finditer(text)][1:]
        low, high = 0, len(starts)
        while low < high:  # the fewer words, the fewer tokens
            middle = (low + high) // 2
            cut = [*self.system, {**question, "content": text[starts[middle] :]}, *answers]
            if self._rendered(cut):
                high = middle
            else:
                low = middle + 1
        if low == len(starts):
            raise DataError(Problem("", "its last answer leaves no room for a word of the question"))
        return [*self.system, {**question, "content": text[starts[low] :]}, *answers]

    @property
    def _room(self) -> float:
        return self.limit - self.base

    def _cost(self, first: int, end: int) -> float:
        return sum(self.costs[first:end])

    def _messages(self, first: int, end: int) -> list[Message]:
        return [*self.system, *(message for one in self.exchanges[first:end] for message in one)]

    def _render(self, first: int, end: int) -> list[Rendered] | None:
        return self._rendered(self._messages(first, end))

    def _rendered(self, messages: list[Message]) -> list[Rendered] | None:
        """The samples, or None if one is too long."""
        try:
            return self.rendered(messages)
        except TooLongError:
            return None

    def _length(self, message: Message) -> int:
        text = message["content"] if set(message) == {"role", "content"} else json.dumps(message)
        return len(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))


def _without_loss(samples: list[Rendered], known: int) -> list[Rendered]:
    """The samples of a window without loss on its first `known` answers: other samples train those."""
    if len(samples) > 1:  # one an answer
        return samples[known:]
    (sample,) = samples
    labels: list[int] = []
    answers = 0
    for ignored, run in groupby(sample.labels, key=lambda label: label == IGNORED):
        tokens = list(run)
        answers += not ignored
        labels += [IGNORED] * len(tokens) if answers <= known else tokens
    return [Rendered(sample.input_ids, labels)]


def _longest(samples: list[Rendered]) -> int:
    return max(len(sample.input_ids) for sample in samples)


def _left_out(found: Sequence[Message], kept: Sequence[Message]) -> str:
    turns = len(found) - len(kept)
    words = 0
    for whole, rest in zip(reversed(found), reversed(kept), strict=False):
        if rest["role"] == whole["role"] == "user":
            words += len(_WORD.findall(whole["content"])) - len(_WORD.findall(rest["content"]))
    parts = [f"{turns} turns"] * bool(turns) + [f"{words} words of the question"] * bool(words)
    return " and ".join(parts)
