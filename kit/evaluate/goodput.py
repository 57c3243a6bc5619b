"""What a system delivers when so many requests are served at once: throughput, goodput, gain by batching."""

from collections.abc import Sequence
from typing import Any

from kit.config.schema import Evaluate, Goodput
from kit.evaluate.percentiles import seconds_per_output_token, spread
from kit.evaluate.predictions import Line
from kit.evaluate.timing import SYSTEMS, answered_by_both, is_complete

Rates = dict[str, float]
"""Complete answers a second, by system."""


def with_load(block: dict[str, Any] | None, lines: Sequence[Line], asked: Evaluate) -> dict[str, Any] | None:
    """The `latency` block of `scores.json` with what was delivered at every concurrency."""
    if block is None:
        return None
    limits = None if asked.goodput is None else asked.goodput.model_dump()
    return {**block, "limits": limits, "load": summarise_load(lines, asked.concurrency, asked.goodput)}


def summarise_load(
    lines: Sequence[Line], concurrency: Sequence[int], limits: Goodput | None
) -> list[dict[str, Any]]:
    """An entry for every concurrency, over `latency.jsonl` (see docs/explanation/architecture.md).

    Rates divide by the time that the batches took, one after the other, failures included.
    `requests_per_second` counts complete answers; `goodput` those of them that meet both limits, None where
    none are set; `batching` divides by the same system's rate on the same prompts one at a time. The gain is
    of tuned at this concurrency against base one at a time: whole = answers x batching, where `answers` is
    tuned against base, one at a time. Times are those of the prompts that both answered in full.
    """
    entries = []
    for level in concurrency:
        served = [line for line in lines if line["concurrency"] == level]
        asked = {line["id"] for line in served}
        alone = _rates([line for line in lines if line["concurrency"] == 1 and line["id"] in asked])
        both = answered_by_both(served)
        entries.append(
            {
                "concurrency": level,
                "requests": len(asked),
                **{s: _system(served, s, both[s], alone, limits) if served else None for s in SYSTEMS},
                "gain": _gain(_rates(served), alone) if served else None,
                "why": "" if served else "there are fewer test prompts than that",
            }
        )
    return entries


def _system(
    served: Sequence[Line], system: str, both: list[Line], alone: Rates, limits: Goodput | None
) -> dict[str, Any]:
    lines = [line for line in served if line["system"] == system]
    seconds, complete = _busy(lines), [line for line in lines if is_complete(line)]
    good = None if limits is None else sum(_is_good(line, limits) for line in complete)
    paces = [pace for line in both if (pace := seconds_per_output_token(line)) is not None]
    return {
        "failed": len(lines) - len(complete),
        "busy_seconds": seconds,
        "requests_per_second": len(complete) / seconds,
        "tokens_per_second": sum(line["new_tokens"] for line in lines) / seconds,
        "good": good,
        "goodput": None if good is None else good / seconds,
        "batching": len(complete) / seconds / alone[system] if alone[system] else None,
        "seconds_to_first_token": spread([line["seconds_to_first_token"] for line in both]),
        "seconds_per_output_token": spread(paces),
        "seconds": spread([line["seconds"] for line in both]),
    }


def _is_good(line: Line, limits: Goodput) -> bool:
    pace = seconds_per_output_token(line)
    in_time = line["seconds_to_first_token"] <= limits.time_to_first_token
    return bool(in_time and (pace is None or pace <= limits.time_per_output_token))


def _busy(lines: Sequence[Line]) -> float:
    """The seconds that a system's batches took together."""
    return sum({line["batch"]: float(line["batch_seconds"]) for line in lines}.values())


def _rates(lines: Sequence[Line]) -> Rates:
    by_system = {s: [line for line in lines if line["system"] == s] for s in SYSTEMS}
    return {
        system: sum(map(is_complete, found)) / _busy(found) if found else 0.0
        for system, found in by_system.items()
    }


def _gain(rates: Rates, alone: Rates) -> dict[str, float] | None:
    """How many times as many answers a second as base one at a time; None where a rate is zero."""
    if not (alone["base"] and alone["tuned"] and rates["tuned"]):
        return None
    return {
        "whole": rates["tuned"] / alone["base"],
        "answers": alone["tuned"] / alone["base"],
        "batching": rates["tuned"] / alone["tuned"],
    }
