"""The training example that a test prompt is most like, as `scores.json` keeps it and the report shows it.

It is the one whose answer the trivial baseline copies: `kit.evaluate.alike` is the only search there is.
"""

from typing import Any

from kit.data.personal import redact_all
from kit.data.rows import Message
from kit.data.same import before_answer
from kit.data.tools import said
from kit.evaluate.alike import Alike, MostAlike

SHOWN = 600
"""Characters of a training example's question and answer that are kept."""


def nearest_example(like: MostAlike) -> dict[str, Any] | None:
    """`{"where", "similarity", "prompt", "answer"}`; None where no training prompt is alike at all.

    Personal data is shortened as in `data.html`, then the texts.
    """
    found = like.nearest
    if found is None or not found.similarity:
        return None
    shown: list[Message] = redact_all([*before_answer(found.turns, found.end), _answer(found)])
    return {
        "where": found.where,
        "similarity": found.similarity,
        "prompt": _short(said(shown[-2])),
        "answer": _short(said(shown[-1])),
    }


def _answer(found: Alike) -> Message:
    return [turn for turn in found.turns if turn["role"] == "assistant"][found.end]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
