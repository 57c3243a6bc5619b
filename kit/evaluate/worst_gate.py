"""What a gate on the worst of k answers looks at (`worst_of: k`): a metric's figures at that k."""

from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.explain import suggest
from kit.config.gates import Gate

Scores = dict[str, Any]
DRAWN = "drawn"
"""What the several answers to each prompt are called where others are called by their decoding."""


def worst_entry(scores: Scores, gate: Gate, where: str) -> Scores | None:
    """The figures at k in the form of a metric's entry; None where they were not measured.

    Raises:
        ConfigError: no metric of that name scored the answers.
    """
    found = scores.get("worst_at_k")
    if found is None or gate.worst_of is None:
        return None
    entry = next((one for one in found["metrics"] if one["name"] == gate.metric), None)
    lost = next((one for one in found["unscored"] if one["name"] == gate.metric), None)
    if entry is None and lost is None:
        known = [one["name"] for one in found["metrics"]]
        message = f"unknown metric {gate.metric!r} for the worst of several answers"
        raise ConfigError(Problem(where, message, suggest(gate.metric, known, "measured")))
    if entry is None or gate.worst_of > len(entry["at"]):
        return None
    absent: Scores = {"reduction": None, "ratio": None, "by_group": None, "slices": [], "decoding": DRAWN}
    return {**entry, **entry["at"][gate.worst_of - 1], **absent}


def why_no_worst(scores: Scores, gate: Gate) -> str:
    """What is lacking where `worst_entry` gives nothing."""
    found = scores.get("worst_at_k")
    answers = found["answers"] if found else 1
    if gate.worst_of is not None and answers < gate.worst_of:
        return f"{answers} sampled {'answer' if answers == 1 else 'answers'} a prompt, and it asks for more"
    lost = (one["why"] for one in found["unscored"] if one["name"] == gate.metric) if found else ()
    return next(iter(lost), "no prompt was scored for both systems")


def validity_of(scores: Scores) -> dict[str, Any]:
    """How many answers could not be used, by decoding; and of all that were drawn, where several were."""
    found = scores.get("worst_at_k")
    return {**scores["validity"], **({DRAWN: found["validity"]} if found else {})}
