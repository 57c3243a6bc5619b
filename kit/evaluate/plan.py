"""What an evaluation could show with the prompts it has: said before the first answer is made."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kit.config.gates import Gate
from kit.config.schema import Config
from kit.evaluate.calibration_scores import METRICS as CALIBRATION
from kit.evaluate.gates import LANGUAGE
from kit.evaluate.judge_gate import NAME as JUDGE
from kit.evaluate.memorisation import NAME as MEMORISED
from kit.evaluate.metrics import LoadedMetric
from kit.evaluate.perplexity import NAME as PERPLEXITY
from kit.evaluate.power import (
    PLANNED_DISCORDANCE,
    detectable_deviations,
    groups_for_no_loss,
    minimum_detectable_effect,
)
from kit.evaluate.prompts import Prompt
from kit.evaluate.severity import SEVERITIES, rules_of
from kit.evaluate.statistics import wilson

LEAST_DISCORDANCE = 0.01
"""Two systems that never disagreed on some prompts may yet on others."""


@dataclass(frozen=True)
class Planned:
    """What one metric could show: the smallest difference that is shown in four cases of five.

    `effect` is a difference of rates, or of scores in standard deviations of their difference
    (`in_deviations`); None where no prompt is scored. `discordance` is the share of prompts on which base
    and tuned are taken to disagree, `source` the evaluation that
    measured it; empty where it is assumed.
    """

    name: str
    label: str
    n: int
    groups: int
    effect: float | None
    in_deviations: bool
    discordance: float
    source: str


@dataclass(frozen=True)
class Plan:
    """What all metrics could show, and a sentence for every gate that could not be met, or hardly; one for
    all that the same stands in the way of."""

    metrics: list[Planned]
    warnings: list[str]


Discordances = Mapping[str, tuple[float, str]]
"""Metric -> the share of prompts on which an earlier evaluation's systems disagreed, and its id."""


def plan(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    measured: Discordances,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """What an evaluation of these prompts could show.

    Args:
        prompts: those that will be asked.
        measured: for metrics that are not there, one prompt in five is taken.
        sizes: general set -> how many of its questions will be asked.
    """
    planned = [_planned(config, metric, prompts, measured) for metric in metrics]
    by_name = {metric.name: metric for metric in metrics}
    discordances = {one.name: one.discordance for one in planned}
    family = sum(gate.kind == "significant" for gate in config.gates)
    found: list[tuple[str, str]] = []
    for gate in config.gates:
        if gate.on is not None:
            why = _too_few(gate, sizes.get(gate.on, 0), f"questions of {gate.on}")
        elif gate.metric == MEMORISED:
            continue  # how many values there are is seen when they are looked for
        elif gate.metric == "response_time":
            why = _too_few(gate, config.evaluate.latency_prompts, "timed prompts at most")
        elif gate.metric == JUDGE and config.evaluate.judge and config.evaluate.judge.labels is None:
            why = (
                "stays open: a judge that no labels are named for (`evaluate.judge.labels`) is not calibrated"
            )
        elif gate.metric in (PERPLEXITY, JUDGE, *CALIBRATION):
            why = _too_few(gate, len({prompt.group for prompt in prompts}), "groups of prompts at most")
        else:
            discordance = discordances[gate.metric]
            why = _hindrance(config, gate, by_name[gate.metric], prompts, discordance, family)
        if why:
            found.append((gate.name, why))
        if gate.metric in by_name and (why := _wrong_way(gate, by_name[gate.metric])):
            found.append((gate.name, why))
    return Plan(planned, _folded(found))


_OPEN = "stays open, with "


def _folded(found: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each cause, in the order in which they were met.

    Args:
        found: each gate's name, and what stands in its way.
    """
    causes: dict[str, list[tuple[str, str]]] = {}
    for name, why in found:
        causes.setdefault(_OPEN if _OPEN in why else why, []).append((name, why))
    return [_sentence(gates) for gates in causes.values()]


def _sentence(gates: Sequence[tuple[str, str]]) -> str:
    (name, why), *others = gates
    if not others:
        return f"gate {name}: {why}"
    if all(why == other for _, other in others):
        return f"{len(gates)} gates, of each: {why} ({'; '.join(name for name, _ in gates)})"
    each = "; ".join(f"{name} ({why.replace(_OPEN, '')})" for name, why in gates)
    return f"{len(gates)} gates stay open: {each}"


def measured_discordances(root: Path, data: str) -> Discordances:
    """How often the systems of the newest evaluation on the same data disagreed, by metric; empty if none."""
    found = sorted((root / "evaluations").glob("*/scores.json"), key=lambda path: -path.stat().st_mtime_ns)
    for path in found:
        scores = json.loads(path.read_text(encoding="utf-8"))
        if scores["data"] != data:
            continue
        shares = {}
        for entry in scores["metrics"]:
            if entry["decoding"] == "greedy" and entry["kind"] == "rate":
                shares[entry["name"]] = (_disagreement(scores["items"], entry["name"]), scores["evaluation"])
        return shares
    return {}


def _disagreement(items: Sequence[dict[str, Any]], name: str) -> float:
    pairs = [[item["greedy"][system]["scores"].get(name) for system in ("base", "tuned")] for item in items]
    scored = [base != tuned for base, tuned in pairs if base is not None and tuned is not None]
    return max(sum(scored) / len(scored), LEAST_DISCORDANCE) if scored else PLANNED_DISCORDANCE


def _planned(
    config: Config, metric: LoadedMetric, prompts: Sequence[Prompt], measured: Discordances
) -> Planned:
    asked = [prompt for prompt in prompts if metric.applies(prompt.reference)]
    groups, confidence = len({prompt.group for prompt in asked}), config.evaluate.confidence
    discordance, source = PLANNED_DISCORDANCE, ""
    if metric.name in measured:
        discordance, source = measured[metric.name]
    effect = None
    if groups and metric.kind == "score":
        effect = detectable_deviations(groups, confidence)
    elif groups:
        effect = minimum_detectable_effect(groups, discordance, confidence)
    return Planned(
        name=metric.name,
        label=metric.label,
        n=len(asked),
        groups=groups,
        effect=effect,
        in_deviations=metric.kind == "score",
        discordance=discordance,
        source=source,
    )


def _hindrance(
    config: Config,
    gate: Gate,
    metric: LoadedMetric,
    prompts: Sequence[Prompt],
    discordance: float,
    family: int,
) -> str:
    """Why a gate could not be met with these prompts, or hardly; empty where nothing is in the way."""
    for where, part in _parts(config, gate, metric, prompts):
        n, groups = len(part), len({prompt.group for prompt in part})
        why = _too_few(gate, groups, "groups of prompts" if groups < n else "prompts")
        # How often the worst of several differ no single answers tell; the best that can come out they do.
        foreseen = gate.worst_of is None or gate.non_inferior is None
        if not why and metric.kind == "rate" and foreseen:
            why = _out_of_reach(config, gate, n, groups, discordance, family)
        if why:
            return f"{where}{why}"
    return ""


def _parts(
    config: Config, gate: Gate, metric: LoadedMetric, prompts: Sequence[Prompt]
) -> list[tuple[str, list[Prompt]]]:
    """The prompts that a gate looks at: all, or those of every value of its slice column."""
    asked = [prompt for prompt in prompts if metric.applies(prompt.reference)]
    if gate.zero_tolerance is not None:
        wanted = SEVERITIES[: SEVERITIES.index(gate.zero_tolerance) + 1]
        asked = [prompt for prompt in asked if set(rules_of(metric, prompt).values()) & set(wanted)]
    if gate.worst is None:
        return [("", asked)]
    values = {prompt.slices[gate.worst] for prompt in prompts if gate.worst in prompt.slices}
    values |= set(config.languages) if gate.worst == LANGUAGE else set()
    return [
        (f"{gate.worst} {value}: ", [prompt for prompt in asked if prompt.slices.get(gate.worst) == value])
        for value in sorted(values)
    ]


def _wrong_way(gate: Gate, metric: LoadedMetric) -> str:
    """That a gate on the tuned score asks for a bad one; empty where it does not."""
    asks, meant = ("at_least", "at_most") if gate.at_least is not None else ("at_most", "at_least")
    limit = getattr(gate, asks)
    if gate.of != "tuned" or limit is None or metric.higher_is_better == (asks == "at_least"):
        return ""
    better = "higher" if metric.higher_is_better else "lower"
    return f"has `{asks}: {limit:g}`, and of {metric.name} {better} is better: is `{meant}` meant?"


def _too_few(gate: Gate, groups: int, counted: str) -> str:
    if groups >= gate.min_n:
        return ""
    counted = re.sub("(group|prompt|question)s", r"\1", counted, count=1) if groups == 1 else counted
    return f"stays open, with {groups} {counted} where it asks for {gate.min_n}"


def _out_of_reach(config: Config, gate: Gate, n: int, groups: int, discordance: float, family: int) -> str:
    """Why so many prompts are too few for what a gate asks of a rate."""
    confidence = config.evaluate.confidence
    if gate.non_inferior is not None:
        needed = groups_for_no_loss(gate.non_inferior.margin, discordance, confidence)
        if groups < needed:
            return (
                f"hardly passes, even where nothing is lost: {groups} rule out so small a loss in fewer than "
                f"four cases of five, about {needed} would"
            )
    if gate.kind == "significant":
        corrected = 1 - (1 - confidence) / family
        if minimum_detectable_effect(groups, discordance, corrected) >= discordance:
            return f"hardly passes: {groups} are too few to show most differences"
    if gate.of == "tuned" and gate.bound == "upper" and gate.at_most is not None:
        best = wilson(0, n, confidence).high
        if best > gate.at_most:
            return f"cannot pass: none in {n} still allows {100 * best:.2g}%"
    if gate.of == "tuned" and gate.bound == "lower" and gate.at_least is not None:
        best = wilson(n, n, confidence).low
        if best < gate.at_least:
            return f"cannot pass: all of {n} still allows {100 * best:.3g}%"
    return ""
