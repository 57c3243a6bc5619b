"""From a dialogue to the tokens a model is trained on, and which of them carry loss.

What is trained must be what is served, so the chat template is never taken apart by pattern. For
every assistant turn two renderings are compared: the *prompt* (everything before the turn, with the
generation prompt: exactly what inference sends) and the *text* (everything up to the turn). The
turn's completion is what the second adds to the first, cut after the token that ends the turn: the
answer, its reasoning and its tool calls. Only completions carry labels.

A turn with reasoning is asked for with thinking on, one without with thinking off. Where a template
writes the same turn differently once it is history (Qwen3 and its think blocks), one dialogue becomes
one sample a turn. Where no completion can be found that inference would produce after its prompt, the
dialogue is refused with the reason: a wrong loss mask is silent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from kit.config.errors import DataError, Problem
from kit.data.chat_template import (
    PROBES,
    TemplateRefusedError,
    control_ids,
    encode,
    named_stop_ids,
    refusal,
    refuse_control_tokens,
    rendered,
)
from kit.data.rows import IGNORED, Message, Tool, is_document
from kit.data.turns import Turn, turn_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Rendered:
    """One training sample: `labels[i]` is `input_ids[i]` where the token carries loss, else -100."""

    input_ids: list[int]
    labels: list[int]

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens before the first that carries loss."""
        return self.input_ids[: self._begin]

    @property
    def completion_ids(self) -> list[int]:
        """The tokens from the first that carries loss on."""
        return self.input_ids[self._begin :]

    @property
    def _begin(self) -> int:
        return next((at for at, label in enumerate(self.labels) if label != IGNORED), len(self.labels))


class TooLongError(DataError):
    """A sample has more tokens than `model.max_length`; `tokens` says how many."""

    def __init__(self, tokens: int, limit: int) -> None:
        self.tokens = tokens
        super().__init__(
            Problem(
                where="",
                message=f"{tokens} tokens, over the limit of {limit} (model.max_length)",
                hint="shorten the dialogue, split it, or raise model.max_length",
            )
        )


def render(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    tools: Sequence[Tool] = (),
) -> list[Rendered]:
    """Tokenise a dialogue with loss on its assistant turns and on the tokens that end them.

    Args:
        messages: system (optional), then user and assistant in turn, an assistant message last; after one
            with tool calls their results. Or one document.
        tokenizer: a fast tokenizer with a chat template.
        max_length: most tokens a sample may have; nothing is ever cut.
        tools: the functions that the assistant may call.

    Returns:
        One sample for the whole dialogue, or one for each assistant turn where the template
        rewrites history; for a document as many in turn as its length asks for.
        A dialogue's sample begins with `prompt_ids` of the messages before its turn.

    Raises:
        TooLongError: a sample is longer than `max_length`.
        TemplateRefusedError: the template cannot render the dialogue, drops or changes a message, a call
            or a tool, or its generation prompt does not lead to the answer; the message says which.
    """
    refuse_control_tokens(messages, tools, tokenizer)
    if is_document(messages):
        return _document(messages[0]["content"].strip(), tokenizer, max_length)
    turns, samples = _turns(messages, tokenizer, tools)
    _refuse_other_ends(samples, tokenizer)
    whole = _whole(turns, samples)
    samples = [whole] if whole else samples
    longest = max(len(sample.input_ids) for sample in samples)
    if longest > max_length:
        raise TooLongError(longest, max_length)
    return samples


def _turns(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", tools: Sequence[Tool]
) -> tuple[list[Turn], list[Rendered]]:
    """Every assistant turn, as text and as a sample of its own."""
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise refusal("the dialogue has no assistant message to learn from")
    turns = [turn_of(messages[: index + 1], tokenizer, tools) for index in answers]
    return turns, [_sample(turn, tokenizer) for turn in turns]


def _refuse_other_ends(samples: list[Rendered], tokenizer: "PreTrainedTokenizerBase") -> None:
    """A turn must end where generation stops, and nowhere before."""
    stops = stop_ids(tokenizer)
    for sample in samples:
        *within, last = sample.labels
        early = [label for label in within if label in stops]
        if early:
            written = tokenizer.decode(early[:1])
            raise refusal(
                f"the chat template writes {written!r} within a turn, and ends turns with it: the model "
                "would stop there"
            )
        if last not in stops:
            written = tokenizer.decode([last])
            raise refusal(
                f"the chat template ends this turn with {written!r}, where generation would not stop"
            )


def _document(text: str, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Rendered]:
    """Plain text, closed by the end of sequence, with loss on every token: as many samples of about equal
    length as `max_length` asks for, so that no token is lost and none stands almost alone.
    """
    if tokenizer.eos_token_id is None:
        raise refusal("the tokenizer has no end of sequence, which must close a document")
    ids = [*_beginning(tokenizer), *encode(text, tokenizer), int(tokenizer.eos_token_id)]
    parts = -(-len(ids) // max_length)
    ends = [len(ids) * part // parts for part in range(parts + 1)]
    pieces = [ids[start:end] for start, end in pairwise(ends)]
    return [Rendered(piece, list(piece)) for piece in pieces]


def _beginning(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The beginning of sequence, where the tokenizer puts one before every text."""
    bos = tokenizer.bos_token_id
    return [] if bos is None or tokenizer.encode("a")[:1] != [bos] else [int(bos)]


def prompt_text(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    tools: Sequence[Tool] = (),
    thinking: bool = False,
) -> str:
    """The text that inference sends for `messages`, which end with a user message or a tool's.

    Args:
        tools: as in `render`.
        thinking: ask for an answer that begins with reasoning, as a turn with reasoning is trained.
    """
    return rendered(messages, tokenizer, tools, thinking=thinking, generation_prompt=True)


def prompt_ids(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    tools: Sequence[Tool] = (),
    thinking: bool = False,
) -> list[int]:
    """The tokens that inference sends for `messages`: the exact prefix of what is trained."""
    return encode(prompt_text(messages, tokenizer, tools, thinking), tokenizer)


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The ids that end a turn: the ones the tokenizer and its generation config name, and those the chat
    template puts after an answer, an answer with reasoning and a tool call. Generation must stop at each.
    """
    return sorted({*named_stop_ids(tokenizer), *_template_ends(tokenizer, str(tokenizer.chat_template))})


@cache
def _template_ends(tokenizer: "PreTrainedTokenizerBase", templates: str) -> frozenset[int]:
    # `templates` is part of the key, so that another one is seen.
    ends = set()
    for messages, tools in PROBES:
        try:
            _, samples = _turns(messages, tokenizer, tools)
            ends.add(samples[-1].input_ids[-1])
        except TemplateRefusedError:
            continue  # a dialogue of this kind is refused as well
    return frozenset(ends)


def _whole(turns: list[Turn], samples: list[Rendered]) -> Rendered | None:
    """One sample for the dialogue, if every earlier turn stands unchanged, token by token, in the last."""
    if not all(turns[-1].prompt.startswith(turn.text) for turn in turns[:-1]):
        return None
    ids, labels = samples[-1].input_ids, list(samples[-1].labels)
    for earlier in samples[:-1]:
        if ids[: len(earlier.input_ids)] != earlier.input_ids:
            return None
        for position, label in enumerate(earlier.labels):
            if label != IGNORED:
                labels[position] = label
    return Rendered(ids, labels)


def _sample(turn: Turn, tokenizer: "PreTrainedTokenizerBase") -> Rendered:
    """Tokens of one turn after its prompt, loss on the turn.

    The prompt's tokens are those of inference. The completion's are the rest of the whole text's,
    which also suits tokenizers that begin every text with a space; where a merge crosses the border,
    the completion is tokenised alone, if the text survives that.
    """
    prompt = encode(turn.prompt, tokenizer)
    whole = encode(turn.text, tokenizer)
    completion = whole[len(prompt) :]
    if whole[: len(prompt)] != prompt:
        completion = encode(turn.completion, tokenizer)
        if tokenizer.decode(prompt + completion) != tokenizer.decode(whole):
            raise refusal("the answer cannot be tokenised apart from its prompt")
    if not completion or completion[-1] not in control_ids(tokenizer):
        raise refusal("the token that ends the turn is not one token of the tokenizer")
    return Rendered(prompt + completion, [IGNORED] * len(prompt) + completion)
