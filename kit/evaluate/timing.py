"""From `latency.jsonl` to percentiles, a speed-up with its interval, and where the speed-up comes from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kit.evaluate import bootstrap, statistics
from kit.evaluate.baselines import none_apply
from kit.evaluate.compare import Settings
from kit.evaluate.entry import metric_entry
from kit.evaluate.metrics.response_time.response_time import ResponseTime
from kit.evaluate.percentiles import NEEDED, seconds_per_output_token, spread
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

    `failed` counts each system's empty and cut answers, `left_out` the prompts that were not used for one.
    `order` is `in turn` where base and tuned took turns on each prompt, `alone` where each was timed by
    itself. All of it is of requests served one at a time; `with_load` adds the others.

    None if no prompt was timed for both.
    """
    alone = _one_at_a_time(lines)
    timed = answered_by_both(alone)
    if not timed["base"]:
        return None
    speedup = bootstrap.ratio_of_medians(_seconds(timed["base"]), _seconds(timed["tuned"]), **_how(settings))
    return {
        **{system: _percentiles(timed[system]) for system in SYSTEMS},
        "percentiles_need": NEEDED,
        "order": lines[0]["order"],
        "left_out": len({line["id"] for line in alone}) - len(timed["base"]),
        "failed": {
            system: sum(line["system"] == system and not is_complete(line) for line in alone)
            for system in SYSTEMS
        },
        "speedup": asdict(speedup),
        "decomposition": _decompose(speedup.estimate, timed),
    }


def _decompose(speedup: float, timed: dict[str, list[Line]]) -> dict[str, float] | None:
    """The speed-up as length x per_token x first_token, exactly.

    An answer takes E = F + (N - 1)·t: F until the first token, t a token after it. With f = F / E,
    E_base / E_tuned = (N_base - 1) / (N_tuned - 1) x t_base / t_tuned x (1 - f_tuned) / (1 - f_base). The
    pace t and the share f are medians over prompts, which one slow answer does not move, and the length is
    the rest. None where all answers are of one token.
    """
    paces, shares = {}, {}
    for system, lines in timed.items():
        found = [pace for line in lines if (pace := seconds_per_output_token(line)) is not None]
        paces[system] = float(np.median(found)) if found else 0.0
        shares[system] = float(
            np.median([line["seconds_to_first_token"] / line["seconds"] for line in lines])
        )
    if min(paces.values()) <= 0 or max(shares.values()) >= 1:
        return None
    per_token = paces["base"] / paces["tuned"]
    first_token = (1 - shares["tuned"]) / (1 - shares["base"])
    return {
        "length": speedup / (per_token * first_token),
        "per_token": per_token,
        "first_token": first_token,
    }


def response_time_entry(lines: Sequence[Line], settings: Settings) -> dict[str, Any] | None:
    """The `metrics` entry of response time: medians, and their ratio; None if nothing was timed for both.

    Intervals, p-value and verdict of ratio and difference are from the same draws, so they agree. Prompts
    count as independent here, whatever their group: a time depends on the machine and on the answer's length.
    """
    timed = answered_by_both(_one_at_a_time(lines))
    if not timed["base"]:
        return None
    base, tuned = _seconds(timed["base"]), _seconds(timed["tuned"])
    ratio = bootstrap.ratio_of_medians(base, tuned, **_how(settings))
    difference, p_value = bootstrap.difference_of_medians(base, tuned, **_how(settings))
    compared = {
        "n": len(base),
        "groups": len(base),
        "base": asdict(bootstrap.median_interval(base, **_how(settings))),
        "tuned": asdict(bootstrap.median_interval(tuned, **_how(settings))),
        "difference": asdict(difference) | {"p_value": p_value},
        "reduction": None,
        "verdict": _verdict(ratio, p_value, [line["id"] for line in timed["base"]], settings),
    }
    return metric_entry(
        name="response_time",
        label=ResponseTime.label,
        about=ResponseTime.about,
        kind="score",
        higher_is_better=False,
        compared=compared,
        ratio=asdict(ratio),
        baselines=none_apply("an answer that nothing makes takes no time"),
    )


def unscored_response_time(lines: Sequence[Line]) -> list[dict[str, str]]:
    """The `unscored` entry of response time where prompts were timed, none of them with two full answers."""
    if not lines or answered_by_both(_one_at_a_time(lines))["base"]:
        return []
    why = "no timed prompt was answered by both without an empty or cut answer"
    return [{"name": "response_time", "label": ResponseTime.label, "decoding": "greedy", "why": why}]


def _verdict(ratio: Interval, p_value: float, prompts: list[str], settings: Settings) -> Outcome:
    if not bootstrap.enough_clusters(prompts, settings.confidence):
        return "not shown"
    low, high = np.log(ratio.low), np.log(ratio.high)
    return statistics.outcome(low, high, p_value, confidence=settings.confidence, higher_is_better=True)


def is_complete(line: Line) -> bool:
    """Whether a timed answer counts: an empty one is a failure, a cut one has the token limit's time."""
    return bool(line["new_tokens"] > 0 and line["finished"])


def answered_by_both(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Each system's records, of one concurrency, of the prompts that both answered in full, by id."""
    by_id = {s: {line["id"]: line for line in lines if line["system"] == s} for s in SYSTEMS}
    both = [
        id_
        for id_ in sorted(set(by_id["base"]) & set(by_id["tuned"]))
        if all(is_complete(by_id[system][id_]) for system in SYSTEMS)
    ]
    return {system: [by_id[system][id_] for id_ in both] for system in SYSTEMS}


def _one_at_a_time(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["concurrency"] == 1]


def _percentiles(lines: list[Line]) -> dict[str, Any]:
    records = [
        {key: line[key] for key in ("seconds_to_first_token", "seconds", "new_tokens")} for line in lines
    ]
    result = ResponseTime().compute(predictions=records)
    gaps = [gap for line in lines for gap in line["inter_token_seconds"]]
    return {**{key: result[key] for key in _SHOWN}, "inter_token_seconds": {"n": len(gaps), **spread(gaps)}}


def _seconds(lines: list[Line]) -> list[float]:
    return [float(line["seconds"]) for line in lines]


def _how(settings: Settings) -> dict[str, Any]:
    return {"draws": settings.draws, "confidence": settings.confidence, "seed": settings.seed}
