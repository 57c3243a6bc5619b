"""A dialogue as the text that its chat template writes, and the tokens that only templates write.

Messages come as the data room has them (see `kit.data.tools`). Templates differ in how they want them:
where reasoning stands, whether a call's arguments are an object or JSON text, what a call's id looks
like. Which of these a template takes is tried out, never guessed from its name.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.data.rows import Message, Tool
from kit.data.tools import texts_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "\ue000", "\ue001"
"""Private-use marks, put round what the assistant says to find it again in the rendered text."""

# Some templates print today's date, which would make every day's prompts different ones. The macro
# shadows the function that they call; a template may only be handed plain values, not functions.
_FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ format"
    " | replace('%d', '01') | replace('%B', 'January') | replace('%b', 'Jan') | replace('%m', '01')"
    " | replace('%Y', '2025') | replace('%A', 'Wednesday') | replace('%a', 'Wed')"
    " | replace('%H', '12') | replace('%M', '00') | replace('%S', '00') }}{% endmacro %}"
)

_INLINE = "content"


class TemplateRefusedError(DataError):
    """The chat template cannot express the dialogue so that training equals serving."""


def refusal(message: str, hint: str = "") -> TemplateRefusedError:
    """The error that says why a dialogue cannot be rendered."""
    return TemplateRefusedError(Problem(where="", message=message, hint=hint))


@dataclass(frozen=True)
class _Form:
    """How a template wants what goes beyond role and content."""

    reasoning: str = "reasoning_content"
    """The key of an assistant's reasoning; `content` puts it there, between `<think>` and `</think>`."""
    arguments_as_text: bool = False
    long_ids: bool = False
    """Call ids name the function (`functions.price:0`), as templates need that print the id alone."""


_REASONING = ("reasoning_content", "reasoning", "thinking", _INLINE)


def rendered(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    tools: Sequence[Tool] = (),
    *,
    thinking: bool = False,
    generation_prompt: bool = False,
) -> str:
    """The text of a dialogue as its chat template writes it.

    Args:
        thinking: ask for a turn that thinks first, in templates that can be asked.
        generation_prompt: open the next assistant turn.

    Raises:
        TemplateRefusedError: there is no template, or it does not take such a dialogue.
    """
    try:
        # Some tokenizers have another template for dialogues with tools.
        template = tokenizer.get_chat_template(tools=list(tools) or None)
    except ValueError as error:
        raise refusal(
            "the tokenizer has no chat template", "choose an instruction-tuned model, or set one"
        ) from error
    form = _Form()
    if any(m.get("tool_calls") for m in messages):
        form = _form_of_calls(tokenizer, template)
    if any(m.get("reasoning_content") for m in messages):
        form = replace(form, reasoning=_form_of_reasoning(tokenizer, template))
    return _rendered(messages, tokenizer, template, tools, form, thinking, generation_prompt)


def _rendered(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    template: str,
    tools: Sequence[Tool],
    form: _Form,
    thinking: bool,
    generation_prompt: bool,
) -> str:
    import jinja2

    try:
        text = tokenizer.apply_chat_template(
            list(_in_form(messages, form)),
            tools=list(tools) or None,
            chat_template=_FIXED_DATE + template if "strftime_now" in template else template,
            add_generation_prompt=generation_prompt,
            tokenize=False,
            # The two names that templates know the switch by.
            enable_thinking=thinking,
            thinking=thinking,
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise refusal(
            f"the chat template refuses it: {error}", "some templates take no system message or no tools"
        ) from error
    return str(text)


def _in_form(messages: Sequence[Message], form: _Form) -> Iterator[dict[str, Any]]:
    """The messages as templates read them. Outer white space goes: templates differ in whether they
    trim, and trimming first makes them agree. Ids are counted anew: those of the data are noise that a
    model would learn, and some templates take nine characters only.
    """
    asked: dict[str, dict[str, Any]] = {}  # the data's id, or the number of an unnamed one -> the call
    count = 0
    for message in messages:
        made: dict[str, Any] = {"role": message["role"], "content": message["content"].strip()}
        if message.get("tool_calls"):
            made["tool_calls"] = []
            asked = {}
            for place, call in enumerate(message["tool_calls"]):
                name = call["function"]["name"]
                id_ = f"functions.{name}:{count}" if form.long_ids else f"call{count:05}"
                count += 1
                asked[call.get("id") or f"#{place}"] = {"tool_call_id": id_, "name": name}
                made["tool_calls"].append(_call(call, id_, form))
        elif message["role"] == "tool" and asked:
            named = message.get("tool_call_id")
            made |= asked.pop(named if named in asked else next(iter(asked)))
        if reasoning := message.get("reasoning_content", "").strip():
            if form.reasoning == _INLINE:
                made["content"] = f"<think>\n{reasoning}\n</think>\n\n{made['content']}"
            else:
                made[form.reasoning] = reasoning
        yield made


def _call(call: dict[str, Any], id_: str, form: _Form) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if form.arguments_as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {
        "id": id_,
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


_ASKED = {"role": "user", "content": "Ping?"}
_CALL = {"type": "function", "function": {"name": "ping", "arguments": {"host": "example"}}}
_TOOL = {
    "type": "function",
    "function": {
        "name": "ping",
        "description": "Ask a host for a sign of life.",
        "parameters": {
            "type": "object",
            "properties": {"host": {"type": "string", "description": "The host."}},
            "required": ["host"],
        },
    },
}
PROBES: tuple[tuple[list[Message], list[Tool]], ...] = (
    ([_ASKED, {"role": "assistant", "content": "Pong."}], []),
    ([_ASKED, {"role": "assistant", "content": "Pong.", "reasoning_content": "Simple."}], []),
    ([_ASKED, {"role": "assistant", "content": "", "tool_calls": [_CALL]}], [_TOOL]),
    (
        [_ASKED, {"role": "assistant", "content": "", "reasoning_content": "Simple.", "tool_calls": [_CALL]}],
        [_TOOL],
    ),
)
"""The kinds of assistant turns, each as short as it can be: an answer and a call, also with reasoning."""


@cache
def _form_of_reasoning(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    """The first key under which the template shows an assistant's reasoning; the usual one if none."""
    messages = with_marks(PROBES[1][0])
    wanted = f"{OPEN}Simple.{CLOSE}"
    # A template that spells a form of its own for reasoning would be given another.
    own = set(re.findall(r"think>?|THINK|thought", re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)))
    for key in _REASONING:
        if key == _INLINE and own and "think>" not in own:
            continue
        try:
            text = _rendered(messages, tokenizer, template, [], _Form(reasoning=key), True, False)
        except TemplateRefusedError:
            continue
        after_question = text.partition(_ASKED["content"])[2]
        if wanted in text and (key != _INLINE or after_question.count("<think>") == 1):
            return key
    return _REASONING[0]


@cache
def _form_of_calls(tokenizer: "PreTrainedTokenizerBase", template: str) -> _Form:
    """The first form in which the template shows a call; arguments as an object and short ids if none."""
    messages = with_marks(PROBES[2][0])
    for form in (_Form(), _Form(long_ids=True), _Form(arguments_as_text=True)):
        try:
            text = _rendered(messages, tokenizer, template, PROBES[2][1], form, False, False)
        except TemplateRefusedError:
            continue
        if all(f"{OPEN}{said}{CLOSE}" in text for said in ("ping", "example")):
            return form
    return _Form()


def with_marks(messages: Sequence[Message]) -> list[Message]:
    """The dialogue with marks round every text that its last message says."""

    def marked(value: Any) -> Any:
        if isinstance(value, str):
            return f"{OPEN}{value}{CLOSE}" if value else value
        if isinstance(value, dict):
            return {key: marked(item) for key, item in value.items()}
        return [marked(item) for item in value] if isinstance(value, list) else value

    last = dict(messages[-1])
    for key in ("content", "reasoning_content"):
        if text := last.get(key, "").strip():
            last[key] = marked(text)
    if last.get("tool_calls"):
        last["tool_calls"] = [{**call, "function": marked(call["function"])} for call in last["tool_calls"]]
    return [*messages[:-1], last]


def encode(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The tokens of rendered text."""
    # The template has already written the beginning of sequence; adding it again would double it.
    # `verbose` would warn of every text over the model's own limit; ours is checked by `render`.
    return list(tokenizer.encode(text, add_special_tokens=False, verbose=False))


def refuse_control_tokens(
    messages: Sequence[Message], tools: Sequence[Tool], tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Text that spells a control token would end its turn and forge the next one.

    Raises:
        TemplateRefusedError: names the message and the token.
    """
    controls = control_pattern(tokenizer)
    told = [(f"the {message['role']} message", texts_of(message)) for message in messages]
    for what, texts in [*told, ("the row's tools", texts_of(list(tools)))]:
        for text in texts:
            if OPEN in text or CLOSE in text:
                raise refusal(f"{what} holds a private-use character (U+E000 or U+E001)")
            if found := controls.search(text) if controls else None:
                raise refusal(
                    f"{what} spells the control token {found.group()!r}", "take it out with a cleaner"
                )


def control_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """The ids of the tokens that only templates write."""
    return _controls(tokenizer, len(tokenizer))[0]


def control_pattern(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str] | None:
    """A pattern that finds those tokens in text."""
    return _controls(tokenizer, len(tokenizer))[1]


@cache
def _controls(
    tokenizer: "PreTrainedTokenizerBase", size: int
) -> tuple[frozenset[int], re.Pattern[str] | None]:
    # `size` is part of the key, so that tokens added later are seen.
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
