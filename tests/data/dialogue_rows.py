"""Rows for tests."""

from typing import Any


def dialogue(question: str, answer: str, **fields: Any) -> dict[str, Any]:
    """A record of one question and one answer, with columns beside it."""
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        **fields,
    }
