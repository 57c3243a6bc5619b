"""`scores.json`: every prompt's answers scored, compared and broken down."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import kit
from kit.config.schema import Config
from kit.evaluate.compare import Settings, compare, compare_slices, explore
from kit.evaluate.conversations import by_group
from kit.evaluate.goodput import with_load
from kit.evaluate.item_metric import CorpusMetric
from kit.evaluate.memorisation import NAME as MEMORISED
from kit.evaluate.memorisation import memorisation_entry, unscored_memorisation
from kit.evaluate.metrics import LoadedMetric, MetricResult, score
from kit.evaluate.perplexity import NAME, perplexity_entry, unscored_perplexity
from kit.evaluate.power import minimum_detectable_effect
from kit.evaluate.predictions import Key, Line
from kit.evaluate.prompts import Prompt
from kit.evaluate.severity import count_severities, harm_of, names_rules
from kit.evaluate.timing import SYSTEMS, response_time_entry, summarise_latency, unscored_response_time
from kit.evaluate.validity import invalid_reason

_DETAILS_SHOWN = 20


@dataclass(frozen=True)
class Answered:
    """One system's answers under one decoding, with what every metric makes of them."""

    outputs: list[str]
    invalid: list[str | None]
    results: dict[str, MetricResult]


def build_scores(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    predictions: dict[Key, Line],
    latency: Sequence[Line],
    header: dict[str, Any],
    likelihood: Sequence[Line] = (),
    memorisation: Sequence[Line] = (),
) -> dict[str, Any]:
    """Everything of `scores.json` (see docs/explanation/architecture.md).

    Args:
        prompts: in the order of their ids, so that the order of the data changes nothing.
        predictions: an answer for every prompt, system and decoding.
        latency: lines of `latency.jsonl`, possibly none.
        likelihood: lines of `likelihood.jsonl`, possibly none.
        memorisation: lines of `memorisation.jsonl`, possibly none.
        header: `evaluation`, `run`, `data`, `synthetic`, `synthetic_share`, `conditions`, `definitions`.
    """
    decodings = ["greedy", "sampled"] if config.evaluate.sampling.enabled else ["greedy"]
    answered = {
        (decoding, system): _answered(metrics, prompts, predictions, system, decoding)
        for decoding in decodings
        for system in SYSTEMS
    }
    settings = settings_of(config)
    entries, unscored = _entries(metrics, prompts, answered, decodings, settings)
    timed = response_time_entry(latency, settings)
    entries += [timed] if timed else []
    unscored += unscored_response_time(latency)
    asked = {use.name for use in config.evaluate.metrics}
    if MEMORISED in asked:
        given = memorisation_entry(memorisation, settings)
        entries += [given] if given else []
        unscored += [] if given else [unscored_memorisation()]
    if NAME in asked:
        read = perplexity_entry(likelihood, prompts, settings)
        entries += [read] if read else []
        unscored += unscored_perplexity(likelihood)
    groups = len({prompt.group for prompt in prompts})
    return {
        "schema": 3,
        "systems": {system: system for system in SYSTEMS},
        **header,
        "kit_version": kit.__version__,
        "model": config.model.name,
        "prompts": len(prompts),
        "groups": groups,
        "seeds": 1,
        "confidence": config.evaluate.confidence,
        "validity": {d: {s: _validity(answered[d, s].invalid) for s in SYSTEMS} for d in decodings},
        "minimum_detectable_effect": minimum_detectable_effect(groups, confidence=config.evaluate.confidence),
        "metrics": entries,
        "unscored": unscored,
        "latency": with_load(summarise_latency(latency, settings), latency, config.evaluate),
        "judge": None,
        "calibration": [],
        "items": [_item(prompt, place, answered, decodings) for place, prompt in enumerate(prompts)],
    }


def settings_of(config: Config) -> Settings:
    """How the configuration has intervals made."""
    return Settings(config.evaluate.confidence, config.evaluate.bootstrap_draws, config.seed)


def score_answers(
    metric: LoadedMetric, outputs: Sequence[str], finished: Sequence[bool], prompts: Sequence[Prompt]
) -> MetricResult:
    """A metric's items, where invalid answers get the metric's `invalid_item`."""
    invalid = [invalid_reason(output, done) for output, done in zip(outputs, finished, strict=True)]
    return _judge_invalid(metric, score(metric, outputs, [p.reference for p in prompts]), invalid, prompts)


def _judge_invalid(
    metric: LoadedMetric, result: MetricResult, invalid: Sequence[str | None], prompts: Sequence[Prompt]
) -> MetricResult:
    items, details = list(result.items), list(result.details)
    counts = None if result.counts is None else list(result.counts)
    for place, reason in enumerate(invalid):
        # A hook says by None which prompts do not concern it; the kit's own metrics are asked.
        concerned = metric.hook is None or items[place] is not None
        if reason is not None and concerned and metric.applies(prompts[place].reference):
            # What a cut or repeating answer has already said stays said.
            said = details[place] if names_rules(metric) == "never" else []
            items[place], details[place] = metric.invalid_item, [f"invalid answer ({reason})", *said]
            if counts is not None and isinstance(metric.module, CorpusMetric):
                counts[place] = metric.module.counts("", prompts[place].reference)
    return replace(result, items=items, details=details, counts=counts)


def _answered(
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    predictions: dict[Key, Line],
    system: str,
    decoding: str,
) -> Answered:
    lines = [predictions[prompt.id, system, decoding] for prompt in prompts]
    outputs, finished = [line["output"] for line in lines], [line["finished"] for line in lines]
    return Answered(
        outputs=outputs,
        invalid=[invalid_reason(output, done) for output, done in zip(outputs, finished, strict=True)],
        results={metric.name: score_answers(metric, outputs, finished, prompts) for metric in metrics},
    )


def _entries(
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    answered: dict[tuple[str, str], Answered],
    decodings: Sequence[str],
    settings: Settings,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """An entry a metric and decoding; metrics that no pair of answers could be scored on, apart."""
    entries, unscored = [], []
    for decoding in decodings:
        for metric in metrics:
            results = {system: answered[decoding, system].results[metric.name] for system in SYSTEMS}
            invalid = {system: answered[decoding, system].invalid for system in SYSTEMS}
            entry = compare_metric(metric, results["base"], results["tuned"], prompts, settings)
            if entry is None:
                why = f"applies to none of the {len(prompts)} prompts"
                unscored.append(
                    {"name": metric.name, "label": metric.label, "decoding": decoding, "why": why}
                )
            else:
                severities = count_severities(metric, results, invalid, prompts)
                counted = {"severities": severities, "harm": harm_of(metric)}
                entries.append({**entry, "decoding": decoding, **counted})
    for decoding in decodings:
        explore([entry for entry in entries if entry["decoding"] == decoding], settings.confidence)
    return entries, unscored


def compare_metric(
    metric: LoadedMetric,
    base: MetricResult,
    tuned: MetricResult,
    prompts: Sequence[Prompt],
    settings: Settings,
) -> dict[str, Any] | None:
    """The `metrics` entry of one metric, without its decoding; None if no prompt was scored for both."""
    groups, slices = [prompt.group for prompt in prompts], [prompt.slices for prompt in prompts]
    seen = {item for item in [*base.items, *tuned.items] if item is not None}
    kind = metric.kind or ("rate" if seen <= {0.0, 1.0} else "score")
    told = [result.items if result.counts is None else result.counts for result in (base, tuned)]
    compared = compare(
        told[0],
        told[1],
        groups,
        kind=kind,
        higher_is_better=metric.higher_is_better,
        settings=settings,
        statistic=base.statistic,
    )
    if compared is None:
        return None
    return {
        "name": metric.name,
        "label": metric.label,
        "about": metric.about,
        "kind": kind,
        "higher_is_better": metric.higher_is_better,
        "of_sums": base.statistic is not None,
        **compared.as_json(),
        "by_group": by_group(
            told[0], told[1], groups, higher_is_better=metric.higher_is_better, settings=settings
        )
        if kind == "rate"
        else None,
        "ratio": None,
        "slices": compare_slices(
            told[0],
            told[1],
            groups,
            slices,
            kind=kind,
            higher_is_better=metric.higher_is_better,
            settings=settings,
            statistic=base.statistic,
        ),
        "details": _counts(base, tuned),
    }


def _counts(base: MetricResult, tuned: MetricResult) -> dict[str, dict[str, int]]:
    """How many answers of each system every reason was found in, the commonest reasons first.

    The reasons are chosen over both systems, so that one left out on one side is not read as none.
    """
    found = [Counter(reason for reasons in r.details for reason in reasons) for r in (base, tuned)]
    both = found[0] + found[1]
    shown = sorted(both, key=lambda reason: (-both[reason], reason))[:_DETAILS_SHOWN]  # ties: by name
    return {
        system: {reason: counts[reason] for reason in shown if counts[reason]}
        for system, counts in zip(SYSTEMS, found, strict=True)
    }


def _validity(reasons: Sequence[str | None]) -> dict[str, Any]:
    found = Counter(reason for reason in reasons if reason is not None)
    return {"n": len(reasons), "invalid": found.total(), "reasons": dict(sorted(found.items()))}


def _item(
    prompt: Prompt, place: int, answered: dict[tuple[str, str], Answered], decodings: Sequence[str]
) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": prompt.id,
        "prompt": prompt.reference["prompt"],
        "answer": prompt.reference["answer"],
        "slices": prompt.slices,
        "group": prompt.group,
    }
    for decoding in decodings:
        item[decoding] = {}
        for system in SYSTEMS:
            made = answered[decoding, system]
            item[decoding][system] = {
                "output": made.outputs[place],
                "scores": {name: result.items[place] for name, result in made.results.items()},
                "details": {name: r.details[place] for name, r in made.results.items() if r.details[place]},
                "invalid": made.invalid[place],
                "counts": {name: r.counts[place] for name, r in made.results.items() if r.counts},
            }
    return item
