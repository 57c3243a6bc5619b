"""The shapes that dialogues come in, and how each becomes `messages`.

A converter gets a record and returns messages; a record that does not fit raises ValueError with the
reason.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from kit.config.explain import shorten
from kit.data.json_text import fault, parse
from kit.data.rows import DOCUMENT, Message
from kit.data.tools import read_calls, split_thought

Record = dict[str, Any]
Converter = Callable[[Record], list[Message]]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def _from_messages(record: Record) -> list[Message]:
    """OpenAI's form: `messages` of `{role, content}`, content a text or a list of text parts, with
    `tool_calls` (or the older `function_call`), `reasoning_content` and messages of role `tool`.
    """
    return [_message(turn, "role", "content") for turn in _turns(record, "messages")]


def _from_sharegpt(record: Record) -> list[Message]:
    """ShareGPT's form: `conversations` of `{from, value}`, in some exports of `{role, content}`; `system`
    may stand beside them. In LLaMA-Factory's dialect a turn of `function_call` is a call as JSON text, or a
    list of them, and one of `observation` what it gave, of several calls a list.
    """
    turns = [_sharegpt_turn(turn) for turn in _turns(record, "conversations")]
    return _system(record) + _results_apart(turns)


def _results_apart(messages: list[Message]) -> list[Message]:
    """One message for each call's result, where one message has the results of several as a JSON list."""
    apart: list[Message] = []
    for place, message in enumerate(messages):
        calls = messages[place - 1].get("tool_calls", ()) if place else ()
        alone = [other["role"] for other in messages[place : place + 2]] != ["tool", "tool"]
        results = _parsed(message["content"], begins="[") if len(calls) > 1 and alone else None
        if message["role"] == "tool" and isinstance(results, list) and len(results) == len(calls):
            apart += [{**message, "content": _as_json_or_text(each)} for each in results]
        else:
            apart.append(message)
    return apart


def _as_json_or_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sharegpt_turn(turn: Any) -> Message:
    own_names = not isinstance(turn, dict) or "from" in turn or "role" not in turn
    return _message(turn, "from", "value") if own_names else _message(turn, "role", "content")


def _from_alpaca(record: Record) -> list[Message]:
    """Alpaca's form: `instruction`, `input` (may be empty) and `output`; LLaMA-Factory's `system`
    and `history` (pairs of question and answer) are understood.
    """
    question = _text(record, "instruction")
    context = record.get("input")
    if context not in (None, "") and not _is_nan(context):
        question = f"{question}\n\n{_text(record, 'input')}"
    return [*_system(record), *_history(record), _user(question), _assistant(_text(record, "output"))]


def _from_prompt_completion(record: Record) -> list[Message]:
    """`prompt` and `completion`, each a text or (TRL's conversational form) a list of messages."""
    before = _text_or_messages(record, "prompt", "user")
    after = _text_or_messages(record, "completion", "assistant")
    return [*_system(record), *before, *after]


def _from_text(record: Record) -> list[Message]:
    """A document for pretraining: its `text`."""
    return [{"role": DOCUMENT, "content": _text(record, "text")}]


CONVERTERS: dict[str, tuple[tuple[str, ...], Converter]] = {
    "messages": (("messages",), _from_messages),
    "sharegpt": (("conversations",), _from_sharegpt),
    "alpaca": (("instruction", "output"), _from_alpaca),
    "prompt_completion": (("prompt", "completion"), _from_prompt_completion),
    "text": (("text",), _from_text),
}
"""Format -> the columns that show it, and its converter; detection tries them in this order."""


ALSO_USED = {
    "messages": ("tools",),
    "sharegpt": ("system", "tools"),
    "alpaca": ("input", "system", "history", "tools"),
    "prompt_completion": ("system", "tools"),
}
"""Format -> the columns that it uses where they are there."""


def used_columns(name: str) -> tuple[str, ...]:
    """The columns that a format turns into messages; none for a reader of the project's hooks."""
    return CONVERTERS[name][0] + ALSO_USED.get(name, ()) if name in CONVERTERS else ()


def detect(columns: Iterable[str]) -> str | None:
    """The first format whose columns are all there."""
    there = set(columns)
    return next((name for name, (needed, _) in CONVERTERS.items() if there.issuperset(needed)), None)


def check_messages(value: Any) -> list[Message]:
    """The messages that a project's own reader or cleaner returned, checked and made plain.

    Raises:
        ValueError: they are not a list of `{role, content}`.
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        (only,) = value
        if only.get("role") == DOCUMENT:
            return [{"role": DOCUMENT, "content": _as_text(only.get("content"), "the document")}]
    return [_message(turn, "role", "content") for turn in _turns({"messages": value}, "messages")]


def _turns(record: Record, column: str) -> list[Any]:
    turns = _parsed(record.get(column))
    if turns is None:
        raise ValueError(f"no {column}")
    if not isinstance(turns, list):
        raise ValueError(f"{column} must be a list of turns, found {shorten(turns)}")
    if not turns:
        raise ValueError(f"{column} is an empty list")
    return turns


def _message(turn: Any, role_key: str, text_key: str) -> Message:
    if not isinstance(turn, dict):
        raise ValueError(f"a turn must have {role_key} and {text_key}, found {shorten(turn)}")
    role = turn.get(role_key)
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise ValueError(f"unknown role {shorten(role)}; known are {', '.join(_ROLES)}")
    what = f"the {role}'s {text_key}"
    if role.lower() == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _called(turn.get(text_key), what)}
    message: Message = {"role": _ROLES[role.lower()], "content": ""}
    calls = read_calls(turn.get("tool_calls") or turn.get("function_call"))
    if calls and message["role"] != "assistant":
        raise ValueError(f"tool calls are the assistant's, found one of the {role}")
    if not calls or turn.get(text_key) is not None:
        message["content"] = _content(turn.get(text_key), what)
    if message["role"] == "assistant":
        _take_thought(message, turn, what)
    if calls:
        message["tool_calls"] = calls
    for key in ("name", "tool_call_id") if message["role"] == "tool" else ():
        if turn.get(key):
            message[key] = _as_text(turn[key], f"the {role}'s {key}")
    return message


def _called(value: Any, what: str) -> list[dict[str, Any]]:
    if not (calls := read_calls(value)):
        raise ValueError(f"{what} must be a tool call as JSON, found {shorten(value)}")
    return calls


_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def _take_thought(message: Message, turn: dict[str, Any], what: str) -> None:
    """Reasoning stands beside the content, whether it came so or in `<think>` before the answer; an empty
    block is none.
    """
    inline, message["content"] = split_thought(message["content"])
    named = next((turn[key] for key in _THOUGHTS if turn.get(key)), "")
    reasoning = _as_text(named, f"{what} (its reasoning)") if named else ""
    if reasoning.strip() and inline and reasoning.strip() != inline:
        raise ValueError(f"{what} begins with <think>, and its reasoning stands beside it too: keep one")
    if reasoning := reasoning.strip() or inline:
        message["reasoning_content"] = reasoning


def _content(value: Any, what: str) -> str:
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in value]
        if any(not isinstance(part, str) for part in parts):
            raise ValueError(f"{what} holds something other than text")
        return _sound("".join(str(part) for part in parts), what)
    return _as_text(value, what)


def _text(record: Record, column: str) -> str:
    return _as_text(record.get(column), column)


def _as_text(value: Any, what: str) -> str:
    if value is None or _is_nan(value):
        raise ValueError(f"{what} is missing" if value is None else f"{what} is NaN, an empty cell")
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{what} is infinity, expected a text")
    if isinstance(value, str):
        return _sound(value, what)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{what} must be a text, found {shorten(value)}")


def _sound(text: str, what: str) -> str:
    """Refuse NUL, which says that bytes were damaged, and half characters, which can be neither tokenised
    nor written to a file.
    """
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character (U+0000) at position {text.index(chr(0)) + 1}")
    broken = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
    if broken:
        raise ValueError(f"{what} holds half a character (U+{ord(broken):04X}, a lone surrogate)")
    return text


def _parsed(value: Any, begins: str = "[{") -> Any:
    """CSV and some Parquet files carry lists as JSON text."""
    if not isinstance(value, str) or not value.lstrip().startswith(begins):
        return value
    try:
        parsed = parse(value)
    except ValueError:
        return value
    if found := fault(parsed):
        raise ValueError(f"a cell of JSON text: {found}")
    return parsed


def _text_or_messages(record: Record, column: str, role: str) -> list[Message]:
    value = _parsed(record.get(column))
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return [_message(turn, "role", "content") for turn in value]
    text = _text(record, column)
    return [_assistant(text) if role == "assistant" else _user(text)]


def _system(record: Record) -> list[Message]:
    system = record.get("system")
    if not isinstance(system, str) or not system.strip():
        return []
    return [{"role": "system", "content": _sound(system, "system")}]


def _history(record: Record) -> list[Message]:
    messages = []
    pairs = _parsed(record.get("history") or [], begins="[")
    for pair in pairs if isinstance(pairs, (list, tuple)) else [pairs]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"history must be pairs of question and answer, found {shorten(pair)}")
        messages += [
            _user(_as_text(pair[0], "a question in history")),
            _assistant(_as_text(pair[1], "an answer in history")),
        ]
    return messages


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    message = {"role": "assistant", "content": content}
    _take_thought(message, {}, "the answer")
    return message


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
