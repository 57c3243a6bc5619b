"""What this project adds to casekit: a reader, a cleaner and a metric.

A reader turns one raw record into a row, or raises ValueError with the reason to reject it. A cleaner
changes a row, or returns None to reject it. A metric gives every answer a number, or None where it
does not apply. Name them in conf/project.yaml to use them.
"""

import re
from collections.abc import Sequence
from typing import Any

from kit.hooks import Metric

Row = dict[str, Any]

# What metrics and the report's breakdowns read, where the list has it.
LABELS = ("topic",)
MOST_WORDS = 120


def read_faq(record: Row) -> Row:
    """One entry of a list of frequent questions: `question`, `answer` and, if known, `topic`."""
    missing = [name for name in ("question", "answer") if not str(record.get(name) or "").strip()]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    labels = {name: record[name] for name in LABELS if name in record}
    return {
        "messages": [
            {"role": "user", "content": str(record["question"]).strip()},
            {"role": "assistant", "content": str(record["answer"]).strip()},
        ],
        **labels,
    }


def collapse_spaces(row: Row) -> Row:
    """Make runs of spaces and tabs one space, and more than one empty line one: scraped text has both."""
    messages = []
    for message in row["messages"]:
        content = re.sub(r"[ \t\u00a0]+", " ", message["content"])
        content = re.sub(r" ?\n(?: ?\n)+ ?", "\n\n", content)
        messages.append({**message, "content": content.strip()})
    return {**row, "messages": messages}


def brief(predictions: Sequence[str], references: Sequence[dict[str, Any]]) -> list[float | None]:
    """1 where an answer is no longer than people read in a chat: 120 words; empty ones score 0."""
    return [float(0 < len(prediction.split()) <= MOST_WORDS) for prediction in predictions]


readers = {"faq": read_faq}
cleaners = {"collapse_spaces": collapse_spaces}
metrics = {
    "brief": Metric(
        label=f"At most {MOST_WORDS} words",
        score=brief,
        higher_is_better=True,
    )
}
