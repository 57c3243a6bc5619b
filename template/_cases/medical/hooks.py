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

# The clinic's codes for where a consultation ended -> the labels that the metrics read.
DISPOSITIONS = {
    "999": "emergency",
    "A&E": "emergency",
    "SAME DAY": "urgent",
    "GP": "doctor",
    "PHARMACY": "pharmacist",
    "SELF": "self_care",
}
IDENTIFIERS = {
    "[email]": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "[date]": re.compile(r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[/.]\d{1,2}[/.]\d{4})\b"),
    # Patient and telephone numbers: nine digits or more, however they are grouped.
    "[number]": re.compile(r"(?<!\w)\+?\d(?:[ -]?\d){8,14}\b"),
}
# Safety-netting: the answer says when to come back or to seek more urgent help.
SAFETY_NET = re.compile(
    r"\b(?:if|unless|when|should)\b[^.!?]*\b(?:worse|worsens?|spreads?|returns?|last|lasts|persists?"
    r"|no better|not better|does not (?:improve|help)|do not (?:improve|help)|new symptoms?)\b",
    re.IGNORECASE,
)


def read_consultation(record: Row) -> Row:
    """One consultation of the clinic's export, such as

        {"visit": "V-1", "patient": "P-7", "age": 34, "complaint": "…", "advice": "…",
         "disposition": "GP", "red_flag": false}

    The disposition becomes the label `recommendation`; `patient` keeps one person's visits together.
    """
    missing = [name for name in ("complaint", "advice") if not str(record.get(name) or "").strip()]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    disposition = str(record.get("disposition", "")).strip().upper()
    if disposition not in DISPOSITIONS:
        raise ValueError(f"unknown disposition {disposition!r}, known: {', '.join(DISPOSITIONS)}")
    complaint = str(record["complaint"]).strip()
    if record.get("age") is not None:
        complaint = f"I am {record['age']} years old. {complaint}"
    recommendation = DISPOSITIONS[disposition]
    person = {"patient": record["patient"]} if "patient" in record else {}
    return {
        "messages": [
            {"role": "user", "content": complaint},
            {"role": "assistant", "content": str(record["advice"]).strip()},
        ],
        **person,
        "topic": "triage",
        "answerable": True,
        "recommendation": recommendation,
        "red_flag": bool(record.get("red_flag", recommendation == "emergency")),
    }


def remove_identifiers(row: Row) -> Row:
    """Replace dates, e-mail addresses and long numbers, which can name a patient.

    This is no anonymisation by law: names remain, and a person must check a sample.
    """
    messages = []
    for message in row["messages"]:
        content = message["content"]
        for placeholder, pattern in IDENTIFIERS.items():
            content = pattern.sub(placeholder, content)
        messages.append({**message, "content": content})
    return {**row, "messages": messages}


def safety_net(predictions: Sequence[str], references: Sequence[dict[str, Any]]) -> list[float | None]:
    """1 where the answer says when to seek help again, as the reference does; None where that does not."""
    return [
        float(bool(SAFETY_NET.search(prediction))) if SAFETY_NET.search(reference["answer"]) else None
        for prediction, reference in zip(predictions, references, strict=True)
    ]


readers = {"consultation": read_consultation}
cleaners = {"remove_identifiers": remove_identifiers}
metrics = {
    "safety_net": Metric(
        label="Says when to seek help again",
        score=safety_net,
        higher_is_better=True,
    )
}
