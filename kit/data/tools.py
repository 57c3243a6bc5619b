"""Tools, the calls to them and reasoning: what a message may hold beyond role and content.

An assistant's message may have `tool_calls`, a list of `{"type": "function", "function": {"name",
"arguments"}}` with arguments as an object, and `reasoning_content`, what it thought before it spoke. A
message of role `tool` brings back what a call gave. A row's `tools` are the functions it may call, as
JSON schemas in OpenAI's form.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from kit.config.explain import shorten, suggest
from kit.data.json_text import fault, parse
from kit.data.rows import Message, Tool

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def read_tools(value: Any) -> list[Tool]:
    """The functions of a column `tools`: a list, or its JSON text, of schemas in OpenAI's form or bare.

    Raises:
        ValueError: it is something else.
    """
    value = _json(value, "tools") if isinstance(value, str) else value
    if value is None or value == "" or value == []:
        return []
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"tools must be a list of function schemas, found {shorten(value)}")
    tools = [_tool(item) for item in value]
    names = [tool["function"]["name"] for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"tools has the function {twice!r} twice")
    return tools


def _tool(value: Any) -> Tool:
    if isinstance(value, str):
        value = _json(value, "a tool")
    schema = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(schema, dict) or not _is_name(schema.get("name")):
        raise ValueError(f"a tool must be a function schema with a name, found {shorten(value)}")
    schema = _sound(_without_nulls(schema), f"the tool {schema['name']!r}")
    parameters = schema.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else parameters
    if properties is not None and not isinstance(properties, dict):
        raise ValueError(f"the parameters of the tool {schema['name']!r} must be a JSON schema of an object")
    return {"type": "function", "function": schema}


def read_calls(value: Any) -> list[dict[str, Any]]:
    """An assistant's calls, from OpenAI's list or a bare `{"name", "arguments"}`, or the JSON text of these.

    Raises:
        ValueError: a call has no name, or its arguments are no JSON object.
    """
    value = _json(value, "a tool call") if isinstance(value, str) else value
    if value is None or value == []:
        return []
    return [_call(item) for item in (value if isinstance(value, list) else [value])]


def _call(value: Any) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not _is_name(name):
        raise ValueError(f"a tool call must have a function's name and arguments, found {shorten(value)}")
    arguments = function.get("arguments", function.get("parameters"))
    what = f"the arguments of the call to {name!r}"
    arguments = _json(arguments, what) if isinstance(arguments, str) else _without_nulls(arguments)
    if arguments is not None and not isinstance(arguments, dict):
        raise ValueError(f"{what} must be an object, found {shorten(arguments)}")
    function = _sound({"name": name, "arguments": arguments or {}}, what)
    made = {"type": "function", "function": function}
    return made | ({"id": str(value["id"])} if value.get("id") else {})


def _without_nulls(value: Any) -> Any:
    """Objects without the keys that are null: in Parquet every row has the names of all others."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _sound(value: dict[str, Any], what: str) -> dict[str, Any]:
    """Refuse what JSON and UTF-8 cannot hold: NaN, dates, half characters; and NUL, as in any text."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: cannot be written as JSON ({error})") from error
    if any("\0" in text for text in texts_of(value)):
        raise ValueError(f"{what}: a text holds a NUL character (U+0000)")
    return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _json(text: str, what: str) -> Any:
    if not text.strip():
        return None
    try:
        value = parse(text)
    except ValueError as error:
        raise ValueError(f"{what} must be JSON, found {shorten(text)} ({error})") from error
    if found := fault(value):
        raise ValueError(f"{what}: {found}")
    return value


def split_thought(content: str) -> tuple[str, str]:
    """The reasoning at the beginning of an assistant's text, between `<think>` and `</think>`; the rest."""
    found = _THOUGHT.match(content)
    return (found[1].strip(), content[found.end() :]) if found else ("", content)


def fault_of_calls(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """Why calls, their results and the row's tools do not fit each other, or nothing.

    Every call names one of the tools, where the row has tools; ids of calls differ, and every result that
    names a call names one of those before it.
    """
    known = [tool["function"]["name"] for tool in tools]
    waiting: list[str | None] = []
    seen: set[str] = set()
    for number, message in enumerate(without_system(messages), start=1):
        for call in message.get("tool_calls", ()):
            name = call["function"]["name"]
            if known and name not in known:
                hint = suggest(name, known, "the row's tools")
                return f"turn {number} calls {name!r}, which is none of the row's tools ({hint})"
            if call.get("id") in seen:
                return f"turn {number} gives a call the id {call['id']!r} again"
            seen |= {call["id"]} if call.get("id") else set()
            waiting.append(call.get("id"))
        if message["role"] != "tool":
            waiting = waiting if message.get("tool_calls") else []
        elif (id_ := message.get("tool_call_id")) and any(waiting) and id_ not in waiting:
            return f"turn {number} is the result of the call {id_!r}, and no such call waits for one"
        else:
            waiting.remove(id_ if id_ in waiting else waiting[0])
    return ""


def without_system(messages: Sequence[Message]) -> Sequence[Message]:
    """The dialogue without its system message."""
    return messages[1:] if messages[0]["role"] == "system" else messages


def said(message: Message) -> str:
    """What a message says, as one text: content, then calls as JSON. For comparing, so that two answers that
    differ in a call alone are two; reasoning is left out, for there are many ways to think to one answer.
    """
    calls = [
        json.dumps(call["function"], ensure_ascii=False, sort_keys=True)
        for call in message.get("tool_calls", ())
    ]
    return "\n".join(filter(None, [message["content"], *calls]))


def texts_of(value: Any) -> Iterator[str]:
    """All texts in a message or any JSON value, the keys of objects included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_of(item)
