"""What gates and claims may rest on of a judge: its figures corrected by labels, or nothing."""

from typing import Any

NAME = "judge"
"""What gates and claims call the share of faults that the judge finds, corrected for its errors."""


def judge_entry(scores: dict[str, Any], decoding: str) -> dict[str, Any] | None:
    """The judge's corrected figures in the form of a metric's entry; None where nothing may rest on it."""
    judge = scores.get("judge")
    if not judge or decoding != judge["decoding"]:
        return None
    entry: dict[str, Any] | None = judge["corrected"]["entry"]
    return entry


def why_not(scores: dict[str, Any], decoding: str) -> str:
    """Why nothing may rest on the judge."""
    judge = scores["judge"]
    if decoding != judge["decoding"]:
        return f"the judge was asked about {judge['decoding']} answers only"
    if judge["calibration"]["why"]:
        return f"judge not calibrated: {judge['calibration']['why']}"
    return f"the judge cannot be corrected for its errors: {judge['corrected']['why']}"
