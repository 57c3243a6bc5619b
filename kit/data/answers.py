"""What a row is trained on, whatever its stage: preferences carry loss on the last answer alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kit.data.chat_template import refusal
from kit.data.render import Rendered, render
from kit.data.rows import IGNORED, Message, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class AnyRow(Protocol):
    """A row before it is written, or as it is read again."""

    @property
    def messages(self) -> list[Message]: ...
    @property
    def tools(self) -> list[Tool]: ...
    @property
    def rejected(self) -> Message | None: ...
    @property
    def label(self) -> bool | None: ...


def render_row(row: AnyRow, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Rendered]:
    """The samples of a row; of a pair the chosen side first, then the rejected.

    Raises:
        TooLongError: a sample is longer than `max_length`.
        TemplateRefusedError: as `render`.
    """
    if row.rejected is not None:
        return render_pair(row.messages, row.rejected, tokenizer, max_length, row.tools)
    if row.label is not None:
        return [render_answer(row.messages, tokenizer, max_length, row.tools)]
    return render(row.messages, tokenizer, max_length, row.tools)


def render_pair(
    messages: Sequence[Message],
    rejected: Message,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    tools: Sequence[Tool] = (),
) -> list[Rendered]:
    """The samples of a pair, chosen and rejected, which share their prompt.

    Raises:
        TooLongError: one of them is longer than `max_length`.
        TemplateRefusedError: as `render`; also where the prompt would depend on the answer.
    """
    dialogues = (messages, [*messages[:-1], rejected])
    chosen, other = (render_answer(dialogue, tokenizer, max_length, tools) for dialogue in dialogues)
    if chosen.prompt_ids != other.prompt_ids:
        raise refusal("the chat template writes another prompt before the rejected answer")
    return [chosen, other]


def render_answer(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    tools: Sequence[Tool] = (),
) -> Rendered:
    """A dialogue with loss on its last answer and the token that ends it. Its `prompt_ids` are those of
    serving, earlier answers among them.

    Args:
        messages: as `render` takes them; no document.
        max_length: most tokens the sample may have; nothing is ever cut.

    Raises:
        TooLongError: the sample is longer than `max_length`.
        TemplateRefusedError: as `render`.
    """
    last = render(messages, tokenizer, max_length, tools)[-1]
    # The answer is the end of the sample, and what stands before it is no answer.
    begin = len(last.labels)
    while begin and last.labels[begin - 1] != IGNORED:
        begin -= 1
    return Rendered(last.input_ids, [IGNORED] * begin + last.input_ids[begin:])
