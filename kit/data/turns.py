"""An assistant turn as text: what inference sends, and what the model should answer and end with."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kit.data.chat_template import (
    CLOSE,
    OPEN,
    PROBES,
    TemplateRefusedError,
    control_pattern,
    named_stop_ids,
    refusal,
    rendered,
    with_marks,
)
from kit.data.rows import Message, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A thinking block that the generation prompt opens and closes at once, and that finished turns of
# some templates (Gemma 4) leave out.
_EMPTY_THOUGHT = re.compile(
    r"(<think>\s*</think>\s*|<\|START_THINKING\|><\|END_THINKING\|>|<\|channel>thought\s*<channel\|>)\Z"
)


@dataclass(frozen=True)
class Turn:
    """The prompt, byte for byte as inference sends it, and the completion with the token that ends it."""

    prompt: str
    completion: str

    @property
    def text(self) -> str:
        return self.prompt + self.completion


def turn_of(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", tools: Sequence[Tool]) -> Turn:
    """The prompt and completion of the last message, an assistant's.

    Raises:
        TemplateRefusedError: the chat template drops or changes something, or its generation prompt does
            not lead to the answer.
    """
    *before, last = messages
    thinking = bool(last.get("reasoning_content"))
    prompt = rendered(before, tokenizer, tools, thinking=thinking, generation_prompt=True)
    _refuse_dropped(before, tools, prompt)
    text = rendered(messages, tokenizer, tools, thinking=thinking)
    marked = rendered(with_marks(messages), tokenizer, tools, thinking=thinking)
    start, end = _locate(last, text, marked)
    lead = _lead(before, prompt, text[:start])
    _refuse_header(lead, tokenizer, tools, thinking)
    find_end = _end_of_calls if last.get("tool_calls") else _end_of_answer
    turn = Turn(prompt, lead + text[start:end] + find_end(text[end:], tokenizer))
    for call in last.get("tool_calls", ()):
        _refuse_dropped_call(call, turn.completion)
    return turn


def _locate(message: Message, text: str, marked: str) -> tuple[int, int]:
    """Where what the last message says begins and ends in `text`, in characters.

    `marked` is `text` rendered again with marks round every text of the message; unless taking the marks
    out gives `text` back, the template does something to the message that we do not understand.
    """
    (wanted,) = with_marks([message])
    for what, value in _parts(wanted):
        if not _shows(marked, value):
            raise refusal(f"the chat template changes or drops the assistant's {what}", _DROPPED[what])
    if marked.replace(OPEN, "").replace(CLOSE, "") != text:
        raise refusal("the chat template changes the assistant's message by what it says")
    start = marked.index(OPEN)
    reasoning = message.get("reasoning_content", "").strip()
    if reasoning and not _shows(marked[start : start + 2 * len(reasoning) + 2], reasoning):
        raise refusal("the chat template puts the reasoning after what it leads to", _DROPPED["reasoning"])
    end = len(marked[: marked.rindex(CLOSE)].replace(OPEN, "").replace(CLOSE, ""))
    return start, end


_DROPPED = {
    "reasoning": "choose a model that thinks, or take the reasoning out with a cleaner",
    "message": "some templates leave out the text beside a tool call",
    "tool call": "choose a model that was made to call tools",
}


def _parts(message: Message) -> Iterator[tuple[str, str]]:
    """What a message says, text by text, and what each is called in a refusal."""
    if reasoning := message.get("reasoning_content", "").strip():
        yield "reasoning", reasoning
    if content := message["content"].strip():
        yield "message", content
    for call in message.get("tool_calls", ()):
        yield "tool call", call["function"]["name"]
        for value in _leaves(call["function"]["arguments"]):
            if isinstance(value, str) and value:
                yield "tool call", value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _shows(text: str, value: str) -> bool:
    """Whether a text holds a value, as it is or as in JSON."""
    return value in text or json.dumps(value, ensure_ascii=False)[1:-1] in text


def _lead(before: Sequence[Message], prompt: str, head: str) -> str:
    """What stands between the prompt and the answer, and so must be generated first.

    `head` is the rendering up to the answer. It begins with the prompt, or, in templates that write
    finished dialogues differently (Mistral Nemo leaves out the system message), agrees with it from
    the last message before the turn on.
    """
    if head.startswith(prompt):
        return head[len(prompt) :]
    thought = _EMPTY_THOUGHT.search(prompt)
    last = before[-1]["content"].strip() if before else ""
    if last not in prompt:
        last = json.dumps(last, ensure_ascii=False)[1:-1]
    at_prompt, at_head = prompt.rfind(last), head.rfind(last)
    header = prompt[at_prompt : thought.start() if thought else None]
    if not last or at_head < 0 or not head[at_head:].startswith(header):
        raise refusal(
            f"the generation prompt ends in {prompt[-40:]!r}, but the template writes a finished turn as "
            f"{head[-40:]!r}: what is trained would not be what is served",
            "the template forces a thinking block or another header; choose a model without it",
        )
    lead = head[at_head + len(header) :]
    # DeepSeek V3.2 closes a thought in finished turns that it never opened there; the prompt did both.
    closing = thought[0].strip()[thought[0].strip().rindex("<") :] if thought else ""
    return lead.lstrip().removeprefix(closing) if closing and lead.lstrip().startswith(closing) else lead


def _refuse_header(
    lead: str, tokenizer: "PreTrainedTokenizerBase", tools: Sequence[Tool], thinking: bool
) -> None:
    """A model that has to write the header of its own turn, which prompts write elsewhere, says it aloud."""
    if not lead.strip():
        return
    question, _ = PROBES[0][0]
    usual = rendered([question], tokenizer, tools, thinking=thinking, generation_prompt=True)
    if usual.rstrip().endswith(lead.strip()):
        raise refusal(
            f"the chat template writes {lead.strip()!r} before this turn, but not at the end of its prompt: "
            "what is trained would not be what is served"
        )


def _end_of_answer(tail: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The part of `tail` (what follows an answer) that the model must generate: up to the token that
    ends the turn. That is the first one named as a stop, else the first control token; a template
    that has none (GLM, Baichuan) gets the tokenizer's end of sequence.
    """
    if controls := control_pattern(tokenizer):
        found = list(controls.finditer(tail))
        stops = _named(found, tokenizer) or found
        if stops and not controls.sub("", tail[: stops[0].end()]).strip():
            return tail[: stops[0].end()]
    return _end_of_sequence(tokenizer)


def _end_of_calls(tail: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The same after tool calls, which are closed first (`"}}` and a tag): up to the first token named as a
    stop, else to the one that ends an answer or a question, else to the last control token (`<|call|>`).
    Where an answer has none at its end, calls have none either.
    """
    found = list(controls.finditer(tail)) if (controls := control_pattern(tokenizer)) else []
    after_answer, after_question = usual_ends(tokenizer, str(tokenizer.chat_template))
    stops = _named(found, tokenizer)
    for usual in (after_answer, after_question):
        stops = stops or [match for match in found if match.group() == usual]
    if not stops and after_answer and found and not tail[found[-1].end() :].strip():
        stops = found[-1:]
    return tail[: stops[0].end()] if stops else tail.rstrip() + _end_of_sequence(tokenizer)


def _named(found: list[re.Match[str]], tokenizer: "PreTrainedTokenizerBase") -> list[re.Match[str]]:
    named = set(named_stop_ids(tokenizer))
    return [match for match in found if tokenizer.convert_tokens_to_ids(match.group()) in named]


def _end_of_sequence(tokenizer: "PreTrainedTokenizerBase") -> str:
    if not tokenizer.eos_token:
        raise refusal("neither the chat template nor the tokenizer has a token that ends a turn")
    return str(tokenizer.eos_token)


@cache
def usual_ends(tokenizer: "PreTrainedTokenizerBase", templates: str) -> tuple[str, str]:
    """The control tokens with which the template itself ends an answer, and a question; empty if none.

    `templates` is part of the key, so that another one is seen.
    """
    controls = control_pattern(tokenizer)
    for messages, _ in PROBES[:2] if controls else ():
        question, answer = (message["content"] for message in messages)
        try:
            text = rendered(messages, tokenizer, thinking="reasoning_content" in messages[-1])
        except TemplateRefusedError:
            continue
        _, asked, rest = text.partition(question)
        between, answered, tail = rest.rpartition(answer)
        if controls and asked and answered:
            ends = controls.findall(_end_of_answer(tail, tokenizer)) if controls.search(tail) else []
            return (ends[-1] if ends else "", next(iter(controls.findall(between)), ""))
    return "", ""


def thought_end(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What the chat template writes between an answer's reasoning and the answer, outer white space aside;
    empty where it writes no reasoning.
    """
    messages, tools = PROBES[1]
    try:
        text = rendered(with_marks(messages), tokenizer, tools, thinking=True)
    except TemplateRefusedError:
        return ""
    between = text.partition(CLOSE)[2].partition(OPEN)
    return between[0].strip() if between[1] else ""


def _refuse_dropped(before: Sequence[Message], tools: Sequence[Tool], prompt: str) -> None:
    """Everything that the prompt is made of must stand in it."""
    for tool in tools:
        if not all(_shows(prompt, text) for text in _told_of(tool["function"])):
            raise refusal(
                f"the chat template drops the tool {tool['function']['name']!r}, or what is told of it",
                "choose a model that was made to call tools",
            )
    for message in before:
        if message["role"] != "assistant" and not _shows(prompt, message["content"].strip()):
            raise refusal(f"the chat template drops or changes the {message['role']} message")
        for call in message.get("tool_calls", ()):
            _refuse_dropped_call(call, prompt)


def _told_of(function: dict[str, Any]) -> Iterator[str]:
    """Names and descriptions of a function and its parameters, of these the first line: templates indent."""
    parameters = (function.get("parameters") or {}).get("properties") or {}
    yield from [function["name"], *parameters]
    for schema in [function, *parameters.values()]:
        description = schema.get("description") if isinstance(schema, dict) else None
        if isinstance(description, str) and description.strip():
            yield description.strip().splitlines()[0].strip()


def _refuse_dropped_call(call: dict[str, Any], text: str) -> None:
    """The function's name and every argument and value must stand in the text."""
    function = call["function"]
    for name in [function["name"], *function["arguments"]]:
        if not _shows(text, name):
            raise refusal("the chat template drops a tool call, or a part of it", _DROPPED["tool call"])
    for value in _leaves(function["arguments"]):
        spelled = value if isinstance(value, str) else json.dumps(value)
        if not (_shows(text, spelled) or str(value) in text):
            raise refusal(f"the chat template drops or changes the argument {value!r}", _DROPPED["tool call"])
