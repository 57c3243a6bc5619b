"""What this project adds to casekit: a reader, a cleaner and a metric.

A reader turns one raw record into a row, or raises ValueError with the reason to reject it. A cleaner
changes a row, or returns None to reject it. A metric gives every answer a number, or None where it
does not apply. Name them in conf/project.yaml to use them.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from kit.hooks import Metric

Row = dict[str, Any]

ROLES = {"customer": "user", "agent": "assistant"}
# What the recipe's metrics and the report's breakdowns read, where the export has it.
LABELS = ("topic", "tone", "answerable", "required", "forbidden")

# An IBAN, or a card or account number of 12 to 19 digits, with or without spaces or hyphens.
ACCOUNT_NUMBER = re.compile(
    r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){3,7}(?:[ -]?[A-Z0-9]{1,3})?\b|\b\d(?:[ -]?\d){11,18}\b"
)
REFERRAL = re.compile(
    r"\b(?:advis[eo]r|adviser's|branch|complaints? team|specialist|call us|speak to|talk to)\b",
    re.IGNORECASE,
)


def read_transcript(record: Row) -> Row:
    """A chat transcript of the contact centre, such as

        {"conversation": "C-1", "customer": "K-9", "topic": "cards",
         "turns": [{"speaker": "customer", "text": "…"}, {"speaker": "agent", "text": "…"}]}

    Consecutive turns of one speaker become one message; an unanswered last question is left out.
    """
    turns = [turn for turn in record.get("turns", []) if turn.get("text", "").strip()]
    strangers = {turn.get("speaker") for turn in turns} - set(ROLES)
    if strangers:
        raise ValueError(f"unknown speaker {', '.join(sorted(map(str, strangers)))}")
    messages = [
        {"role": ROLES[speaker], "content": " ".join(turn["text"].strip() for turn in said)}
        for speaker, said in groupby(turns, key=lambda turn: turn["speaker"])
    ]
    if messages and messages[-1]["role"] == "user":
        messages.pop()
    if messages and messages[0]["role"] == "assistant":
        messages.pop(0)  # the agent's greeting answers nothing
    if not messages:
        raise ValueError("no question that an agent answered")
    labels = {name: record[name] for name in ("customer", *LABELS) if name in record}
    return {"messages": messages, **labels}


def mask_account_numbers(row: Row) -> Row:
    """Replace account and card numbers by `[account]`: a model repeats what it was trained on."""
    messages = [
        {**message, "content": ACCOUNT_NUMBER.sub("[account]", message["content"])}
        for message in row["messages"]
    ]
    return {**row, "messages": messages}


def refers_to_a_person(
    predictions: Sequence[str], references: Sequence[dict[str, Any]]
) -> list[float | None]:
    """1 where the answer refers to a person, as the reference answer does; None where that does not."""
    return [
        float(bool(REFERRAL.search(prediction))) if REFERRAL.search(reference["answer"]) else None
        for prediction, reference in zip(predictions, references, strict=True)
    ]


readers = {"transcript": read_transcript}
cleaners = {"mask_account_numbers": mask_account_numbers}
metrics = {
    "refers_to_a_person": Metric(
        label="Refers to a person where it should",
        score=refers_to_a_person,
        higher_is_better=True,
    )
}
