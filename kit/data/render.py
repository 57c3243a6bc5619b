"""From a dialogue to the tokens a model is trained on, and which of them carry loss.

What is trained must be what is served, so the chat template is never taken apart by pattern. For
every assistant turn two renderings are compared: the *prompt* (everything before the turn, with the
generation prompt: exactly what inference sends) and the *text* (everything up to the turn). The
turn's completion is what the second adds to the first, cut after the token that ends the turn. Only
completions carry labels.

Where a template writes the same turn differently once it is history (Qwen3 and its think blocks),
one dialogue becomes one sample a turn. Where no completion can be found that inference would
produce after its prompt, the dialogue is refused with the reason: a wrong loss mask is silent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.data.rows import IGNORED, Message, is_document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OPEN, _CLOSE = "\ue000", "\ue001"  # private-use marks, put round an answer to find it again

# A thinking block that the generation prompt opens and closes at once, and that finished turns of
# some templates (Gemma 4) leave out.
_EMPTY_THOUGHT = re.compile(
    r"(<think>\s*</think>\s*|<\|START_THINKING\|><\|END_THINKING\|>|<\|channel>thought\s*<channel\|>)\Z"
)

# Some templates print today's date, which would make every day's prompts different ones. The macro
# shadows the function that they call; a template may only be handed plain values, not functions.
_FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ format"
    " | replace('%d', '01') | replace('%B', 'January') | replace('%b', 'Jan') | replace('%m', '01')"
    " | replace('%Y', '2025') | replace('%A', 'Wednesday') | replace('%a', 'Wed')"
    " | replace('%H', '12') | replace('%M', '00') | replace('%S', '00') }}{% endmacro %}"
)


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


class TemplateRefusedError(DataError):
    """The chat template cannot express the dialogue so that training equals serving."""


@dataclass(frozen=True)
class _Turn:
    """An assistant turn as text: what inference sends, and what the model should answer."""

    prompt: str
    completion: str

    @property
    def text(self) -> str:
        return self.prompt + self.completion


def render(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> list[Rendered]:
    """Tokenise a dialogue with loss on its assistant turns and on the tokens that end them.

    Args:
        messages: system (optional), then user and assistant in turn, an assistant message last; or one
            document.
        tokenizer: a fast tokenizer with a chat template.
        max_length: most tokens a sample may have; nothing is ever cut.

    Returns:
        One sample for the whole dialogue, or one for each assistant turn where the template
        rewrites history; for a document as many in turn as its length asks for.
        A dialogue's sample begins with `prompt_ids` of the messages before its turn.

    Raises:
        TooLongError: a sample is longer than `max_length`.
        TemplateRefusedError: the template cannot render the dialogue, drops or changes a message,
            or its generation prompt does not lead to the answer; the message says which.
    """
    plain = _plain(messages)
    _refuse_control_tokens(plain, tokenizer)
    if is_document(plain):
        return _document(plain[0]["content"], tokenizer, max_length)
    answers = [index for index, message in enumerate(plain) if message["role"] == "assistant"]
    if not answers:
        raise _refusal("the dialogue has no assistant message to learn from")
    turns = [_turn(plain[: index + 1], tokenizer) for index in answers]
    whole = _whole(turns, tokenizer)
    samples = [whole] if whole else [_sample(turn, tokenizer) for turn in turns]
    longest = max(len(sample.input_ids) for sample in samples)
    if longest > max_length:
        raise TooLongError(longest, max_length)
    return samples


def _document(text: str, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Rendered]:
    """Plain text, closed by the end of sequence, with loss on every token: as many samples of about equal
    length as `max_length` asks for, so that no token is lost and none stands almost alone.
    """
    if tokenizer.eos_token_id is None:
        raise _refusal("the tokenizer has no end of sequence, which must close a document")
    ids = [*_beginning(tokenizer), *_encode(text, tokenizer), int(tokenizer.eos_token_id)]
    parts = -(-len(ids) // max_length)
    ends = [len(ids) * part // parts for part in range(parts + 1)]
    pieces = [ids[start:end] for start, end in pairwise(ends)]
    return [Rendered(piece, list(piece)) for piece in pieces]


def _beginning(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The beginning of sequence, where the tokenizer puts one before every text."""
    bos = tokenizer.bos_token_id
    return [] if bos is None or tokenizer.encode("a")[:1] != [bos] else [int(bos)]


def prompt_text(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text that inference sends for `messages` (which end with a user message)."""
    return _text(_plain(messages), tokenizer, generation_prompt=True)


def prompt_ids(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The tokens that inference sends for `messages`: the exact prefix of what is trained."""
    return _encode(prompt_text(messages, tokenizer), tokenizer)


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The ids that end an answer: the ones the tokenizer and its generation config name, and the
    one the chat template puts after an assistant's turn. Generation must stop at each of them.
    """
    probe = [{"role": "user", "content": "Ping?"}, {"role": "assistant", "content": "Pong."}]
    end_of_turn = render(probe, tokenizer, max_length=1_000_000)[-1].input_ids[-1]
    return sorted({*named_stop_ids(tokenizer), end_of_turn})


def _plain(messages: Sequence[Message]) -> list[Message]:
    # Templates differ in whether they trim; trimming first makes them agree, in training and serving.
    return [{"role": m["role"], "content": m["content"].strip()} for m in messages]


def _text(messages: list[Message], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool) -> str:
    import jinja2

    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        raise _refusal(
            "the tokenizer has no chat template", "choose an instruction-tuned model, or set one"
        ) from error
    if "strftime_now" in template:
        template = _FIXED_DATE + template
    try:
        # Dialogues carry no reasoning, so templates that can are asked not to open a thinking block.
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=generation_prompt,
            tokenize=False,
            enable_thinking=False,
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
        raise _refusal(
            f"the chat template refuses it: {error}", "some templates take no system message"
        ) from error
    return str(text)


def _turn(messages: list[Message], tokenizer: "PreTrainedTokenizerBase") -> _Turn:
    """The prompt and completion of the last message, an assistant's."""
    prompt = _text(messages[:-1], tokenizer, generation_prompt=True)
    _refuse_dropped(messages[:-1], prompt)
    text = _text(messages, tokenizer, generation_prompt=False)
    start, end = _locate_answer(messages, text, tokenizer)
    lead = _lead(messages, prompt, text[:start])
    tail = _up_to_end_of_turn(text[end:], tokenizer)
    return _Turn(prompt, lead + text[start:end] + tail)


def _locate_answer(
    messages: list[Message], text: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[int, int]:
    """Where the last message's content stands in `text`, in characters.

    The content is rendered again between two marks; unless taking the marks out gives `text` back,
    the template does something to the content that we do not understand.
    """
    answer = messages[-1]["content"]
    marked_messages = [*messages[:-1], {"role": "assistant", "content": f"{_OPEN}{answer}{_CLOSE}"}]
    marked = _text(marked_messages, tokenizer, generation_prompt=False)
    start = marked.find(_OPEN + answer + _CLOSE)
    if start < 0 or marked.replace(_OPEN, "").replace(_CLOSE, "") != text:
        raise _refusal("the chat template changes or drops the assistant's message")
    return start, start + len(answer)


def _lead(messages: list[Message], prompt: str, head: str) -> str:
    """What stands between the prompt and the answer, and so must be generated first.

    `head` is the rendering up to the answer. It begins with the prompt, or, in templates that write
    finished dialogues differently (Mistral Nemo leaves out the system message), agrees with it from
    the last message before the turn on.
    """
    if head.startswith(prompt):
        return head[len(prompt) :]
    before = messages[-2]["content"] if len(messages) > 1 else ""
    at_prompt, at_head = prompt.rfind(before), head.rfind(before)
    header = _EMPTY_THOUGHT.sub("", prompt[at_prompt:])
    if not before or at_head < 0 or not head[at_head:].startswith(header):
        raise _refusal(
            f"the generation prompt ends in {prompt[-40:]!r}, but the template writes a finished turn as "
            f"{head[-40:]!r}: what is trained would not be what is served",
            "the template forces a thinking block or another header; choose a model without it",
        )
    return head[at_head + len(header) :]


def _up_to_end_of_turn(tail: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The part of `tail` (what follows an answer) that the model must generate: up to the token that
    ends the turn. That is the first one named as a stop, else the first control token; a template
    that has none (GLM, Baichuan) gets the tokenizer's end of sequence.
    """
    controls = _control_pattern(tokenizer)
    named = set(named_stop_ids(tokenizer))
    if controls:
        found = list(controls.finditer(tail))
        stops = [m for m in found if tokenizer.convert_tokens_to_ids(m.group()) in named] or found
        if stops and not controls.sub("", tail[: stops[0].end()]).strip():
            return tail[: stops[0].end()]
    if not tokenizer.eos_token:
        raise _refusal("neither the chat template nor the tokenizer has a token that ends a turn")
    return str(tokenizer.eos_token)


def _whole(turns: list[_Turn], tokenizer: "PreTrainedTokenizerBase") -> Rendered | None:
    """One sample for the dialogue, if every earlier turn stands unchanged, token by token, in the last."""
    last = turns[-1]
    if not all(last.prompt.startswith(turn.text) for turn in turns[:-1]):
        return None
    sample = _sample(last, tokenizer)
    ids, labels = sample.input_ids, sample.labels
    for turn in turns[:-1]:
        earlier = _sample(turn, tokenizer)
        if ids[: len(earlier.input_ids)] != earlier.input_ids:
            return None
        for position, label in enumerate(earlier.labels):
            if label != IGNORED:
                labels[position] = label
    return sample


def _sample(turn: _Turn, tokenizer: "PreTrainedTokenizerBase") -> Rendered:
    """Tokens of one turn after its prompt, loss on the turn.

    The prompt's tokens are those of inference. The completion's are the rest of the whole text's,
    which also suits tokenizers that begin every text with a space; where a merge crosses the border,
    the completion is tokenised alone, if the text survives that.
    """
    prompt = _encode(turn.prompt, tokenizer)
    whole = _encode(turn.text, tokenizer)
    completion = whole[len(prompt) :]
    if whole[: len(prompt)] != prompt:
        completion = _encode(turn.completion, tokenizer)
        if tokenizer.decode(prompt + completion) != tokenizer.decode(whole):
            raise _refusal("the answer cannot be tokenised apart from its prompt")
    if not completion or completion[-1] not in _control_ids(tokenizer):
        raise _refusal("the token that ends the turn is not one token of the tokenizer")
    return Rendered(prompt + completion, [IGNORED] * len(prompt) + completion)


def _encode(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    # The template has already written the beginning of sequence; adding it again would double it.
    # `verbose` would warn of every text over the model's own limit; ours is checked by `render`.
    return list(tokenizer.encode(text, add_special_tokens=False, verbose=False))


def _refuse_control_tokens(messages: list[Message], tokenizer: "PreTrainedTokenizerBase") -> None:
    """Text that spells a control token would end its turn and forge the next one."""
    controls = _control_pattern(tokenizer)
    for message in messages:
        text = message["content"]
        if _OPEN in text or _CLOSE in text:
            raise _refusal(f"the {message['role']} message holds a private-use character (U+E000 or U+E001)")
        found = controls.search(text) if controls else None
        if found:
            raise _refusal(
                f"the {message['role']} message spells the control token {found.group()!r}",
                "take it out with a cleaner",
            )


def _refuse_dropped(messages: list[Message], prompt: str) -> None:
    for message in messages:
        if message["role"] != "assistant" and message["content"] not in prompt:
            raise _refusal(f"the chat template drops or changes the {message['role']} message")


def _control_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    return _controls(tokenizer, len(tokenizer))[0]


def _control_pattern(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str] | None:
    return _controls(tokenizer, len(tokenizer))[1]


@cache
def _controls(
    tokenizer: "PreTrainedTokenizerBase", size: int
) -> tuple[frozenset[int], re.Pattern[str] | None]:
    """The ids of the control tokens and a pattern that finds them in text.

    `size` is part of the key, so that tokens added later are seen.
    """
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    names = {str(token) for token in added.values() if token.special} | set(tokenizer.all_special_tokens)
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    pattern = re.compile("|".join(map(re.escape, longest_first))) if names else None
    return frozenset(tokenizer.convert_tokens_to_ids(longest_first)), pattern


@cache
def _generation_stop_ids(folder_or_id: str) -> tuple[int, ...]:
    """`eos_token_id` of the generation config that lies with the tokenizer, if one is on this machine."""
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(folder_or_id, local_files_only=True)
    except (OSError, ValueError):
        return ()
    eos = config.eos_token_id
    return tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,)


def named_stop_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The ids that the tokenizer, and the generation config beside it, name as ends of an answer."""
    eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    name = getattr(tokenizer, "name_or_path", "")
    return [*eos, *(_generation_stop_ids(name) if name else ())]


def _refusal(message: str, hint: str = "") -> TemplateRefusedError:
    return TemplateRefusedError(Problem(where="", message=message, hint=hint))
