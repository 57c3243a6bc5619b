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
LABELS = ("language", "topic", "answerable", "required", "forbidden")

# Where the message ends and a mail program's signature or a quoted reply begins.
SIGNATURE = re.compile(
    r"^(?:--\s*$|>|Sent from my |Envoyé de(?:puis)? mon |Enviado desde mi "
    r"|On .+ wrote:\s*$|Le .+ a écrit\s*:\s*$|El .+ escribió:\s*$)",
    re.MULTILINE,
)
ORDER_NUMBER = re.compile(r"\b(?=[A-Z0-9-]*\d{3})[A-Z]{0,4}-?\d[A-Z0-9-]{3,}\b")


def read_ticket(record: Row) -> Row:
    """A solved ticket of the help desk, such as

        {"ticket": 17, "customer": "K-9", "language": "fr", "status": "solved", "topic": "delivery",
         "thread": [{"from": "customer", "body": "…"}, {"from": "agent", "body": "…"}]}

    Automatic notes are skipped; consecutive mails of one side become one message.
    """
    if record.get("status") != "solved":
        raise ValueError(f"the ticket is {record.get('status', 'of unknown status')}, not solved")
    mails = [
        mail
        for mail in record.get("thread", [])
        if mail.get("from") in ROLES and mail.get("body", "").strip()
    ]
    messages = [
        {"role": ROLES[sender], "content": "\n\n".join(mail["body"].strip() for mail in sent)}
        for sender, sent in groupby(mails, key=lambda mail: mail["from"])
    ]
    if messages and messages[-1]["role"] == "user":
        messages.pop()  # a last "thank you" asks nothing
    if len(messages) < 2 or messages[0]["role"] != "user":
        raise ValueError("no question of a customer that an agent answered")
    labels = {name: record[name] for name in ("customer", *LABELS) if name in record}
    return {"messages": messages, **labels}


def strip_signatures(row: Row) -> Row | None:
    """Cut every message at its signature or quoted reply; a message of nothing else rejects the row."""
    messages = []
    for message in row["messages"]:
        found = SIGNATURE.search(message["content"])
        content = message["content"][: found.start()] if found else message["content"]
        if not content.strip():
            return None
        messages.append({**message, "content": content.strip()})
    return {**row, "messages": messages}


def repeats_order_number(
    predictions: Sequence[str], references: Sequence[dict[str, Any]]
) -> list[float | None]:
    """1 where the answer names the order number of the question; None where the question has none."""
    scores: list[float | None] = []
    for prediction, reference in zip(predictions, references, strict=True):
        asked = set(ORDER_NUMBER.findall(reference["prompt"]))
        scores.append(float(asked <= set(ORDER_NUMBER.findall(prediction))) if asked else None)
    return scores


readers = {"ticket": read_ticket}
cleaners = {"strip_signatures": strip_signatures}
metrics = {
    "repeats_order_number": Metric(
        label="Names the customer's order number",
        score=repeats_order_number,
        higher_is_better=True,
    )
}
