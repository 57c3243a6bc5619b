"""Dialogues with tools, calls and reasoning for tests, as the data room has them."""

from typing import Any

SYSTEM = {"role": "system", "content": "You are the assistant of a bank."}
ASK = {"role": "user", "content": "What does the card cost?"}
ANSWER = {"role": "assistant", "content": "It costs 12 euros."}
ASK_MORE = {"role": "user", "content": "Is it safe?"}
ANSWER_MORE = {"role": "assistant", "content": "No return is guaranteed."}


def tool(name: str, **parameters: str) -> dict[str, Any]:
    """A function's schema in OpenAI's form; `parameters` are names and JSON types."""
    properties = {key: {"type": type_, "description": f"The {key}."} for key, type_ in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    function = {"name": name, "description": f"Looks up the {name}.", "parameters": schema}
    return {"type": "function", "function": function}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made)}


def result(content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content}


def thought(message: dict[str, Any], reasoning: str) -> dict[str, Any]:
    return {**message, "reasoning_content": reasoning}


TOOLS = [tool("card_price", card="string", years="integer"), tool("fund_risk", product="string")]
PRICE = call("card_price", card='Blue "Gold"', years=3)
RISK = call("fund_risk", product="fund")
PRICED = result('{"price": 12}')
CALLED = [ASK, calls(PRICE), PRICED, ANSWER]

SCENARIOS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "plain": ([ASK, ANSWER], []),
    "system": ([SYSTEM, ASK, ANSWER, ASK_MORE, ANSWER_MORE], []),
    "multi-turn": ([ASK, ANSWER, ASK_MORE, ANSWER_MORE], []),
    "tools": ([ASK, calls(PRICE), PRICED, ANSWER, ASK_MORE, calls(RISK), result("low"), ANSWER_MORE], TOOLS),
    "tools and system": ([SYSTEM, ASK, calls(PRICE), PRICED, ANSWER], TOOLS),
    "tool call last": ([ASK, calls(PRICE)], TOOLS),
    "parallel tool calls": ([ASK, calls(PRICE, RISK), PRICED, result("low"), ANSWER], TOOLS),
    "text and tool call": ([ASK, calls(PRICE, content="Let me see."), PRICED, ANSWER], TOOLS),
    "thinking": (
        [ASK, thought(ANSWER, "The list says 12."), ASK_MORE, thought(ANSWER_MORE, "Funds can fall.")],
        [],
    ),
    "thinking once": ([ASK, thought(ANSWER, "The list says 12."), ASK_MORE, ANSWER_MORE], []),
    "thinking and tools": (
        [ASK, thought(calls(PRICE), "I must look."), PRICED, thought(ANSWER, "The list says 12.")],
        TOOLS,
    ),
}
"""Name -> messages and tools."""
