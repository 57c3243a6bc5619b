"""From `latency.jsonl` to percentiles, a speed-up with its interval, and where the speed-up comes from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kit.evaluate import bootstrap, statistics
from kit.evaluate.compare import Settings
from kit.evaluate.metrics.response_time.response_time import ResponseTime
from kit.evaluate.predictions import Line
from kit.evaluate.statistics import Interval, Outcome

SYSTEMS = ("base", "tuned")
_SHOWN = (
    "n",
    "seconds_to_first_token",
    "seconds_per_output_token",
    "tokens_per_second",
    "seconds",
    "new_tokens",
)


def summarise_latency(lines: Sequence[Line], settings: Settings) -> dict[str, Any] | None:
    """The `latency` block of `scores.json`, over the prompts that both systems answered in full.

    `left_out` counts the other timed prompts: one of the answers was empty or cut. `order` is `in turn`
    where base and tuned took turns on each prompt, `alone` where each was timed by itself.

    The speed-up is taken apart into shorter answers and faster tokens, length x per_token = speed-up:
    the pace of tokens is measured, being much the same for every prompt, and the length is the rest;
    an adapter makes no token faster, and beside its base a little slower. None if no prompt was timed for
    both.
    """
    timed = _timed_by_both(lines)
    if not timed["base"]:
        return None
    speedup = bootstrap.ratio_of_medians(_seconds(timed["base"]), _seconds(timed["tuned"]), **_how(settings))
    per_token = _median_pace(timed["base"]) / _median_pace(timed["tuned"])
    return {
        **{system: _percentiles(timed[system]) for system in SYSTEMS},
        "order": lines[0]["order"],
        "left_out": len({line["id"] for line in lines}) - len(timed["base"]),
        "speedup": asdict(speedup),
        "decomposition": {"length": speedup.estimate / per_token, "per_token": per_token},
    }


def response_time_entry(lines: Sequence[Line], settings: Settings) -> dict[str, Any] | None:
    """The `metrics` entry of response time: medians, and their ratio; None if nothing was timed for both.

    Intervals, p-value and verdict of ratio and difference are from the same draws, so they agree. Prompts
    count as independent here, whatever their group: a time depends on the machine and on the answer's length.
    """
    timed = _timed_by_both(lines)
    if not timed["base"]:
        return None
    base, tuned = _seconds(timed["base"]), _seconds(timed["tuned"])
    ratio = bootstrap.ratio_of_medians(base, tuned, **_how(settings))
    difference, p_value = bootstrap.difference_of_medians(base, tuned, **_how(settings))
    return {
        "name": "response_time",
        "label": ResponseTime.label,
        "about": ResponseTime.about,
        "kind": "score",
        "higher_is_better": False,
        "of_sums": False,
        "decoding": "greedy",
        "n": len(base),
        "groups": len(base),
        "base": asdict(bootstrap.median_interval(base, **_how(settings))),
        "tuned": asdict(bootstrap.median_interval(tuned, **_how(settings))),
        "difference": asdict(difference) | {"p_value": p_value},
        "reduction": None,
        "by_group": None,
        "ratio": asdict(ratio),
        "verdict": _verdict(ratio, p_value, [line["id"] for line in timed["base"]], settings),
        "slices": [],
        "details": {"base": {}, "tuned": {}},
        "severities": None,
    }


def unscored_response_time(lines: Sequence[Line]) -> list[dict[str, str]]:
    """The `unscored` entry of response time where prompts were timed, none of them with two full answers."""
    if not lines or _timed_by_both(lines)["base"]:
        return []
    why = "no timed prompt was answered by both without an empty or cut answer"
    return [{"name": "response_time", "label": ResponseTime.label, "decoding": "greedy", "why": why}]


def _verdict(ratio: Interval, p_value: float, prompts: list[str], settings: Settings) -> Outcome:
    if not bootstrap.enough_clusters(prompts, settings.confidence):
        return "not shown"
    low, high = np.log(ratio.low), np.log(ratio.high)
    return statistics.outcome(low, high, p_value, confidence=settings.confidence, higher_is_better=True)


def _timed_by_both(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Each system's records of the prompts that both answered in full, by id.

    One new token is the stop token alone: an empty answer, which is a failure and not a fast answer. A cut
    answer would have taken longer: its time is the token limit's.
    """
    answered = [line for line in lines if line["new_tokens"] >= 2 and line.get("finished", True)]
    by_id = {s: {line["id"]: line for line in answered if line["system"] == s} for s in SYSTEMS}
    both = sorted(set(by_id["base"]) & set(by_id["tuned"]))
    return {system: [by_id[system][id_] for id_ in both] for system in SYSTEMS}


def _percentiles(lines: list[Line]) -> dict[str, Any]:
    records = [
        {key: line[key] for key in ("seconds_to_first_token", "seconds", "new_tokens")} for line in lines
    ]
    result = ResponseTime().compute(predictions=records)
    return {key: result[key] for key in _SHOWN}


def _seconds(lines: list[Line]) -> list[float]:
    return [float(line["seconds"]) for line in lines]


def _median_pace(lines: list[Line]) -> float:
    """The median over prompts of an answer's seconds a token."""
    return float(np.median([line["seconds"] / line["new_tokens"] for line in lines]))


def _how(settings: Settings) -> dict[str, Any]:
    return {"draws": settings.draws, "confidence": settings.confidence, "seed": settings.seed}
