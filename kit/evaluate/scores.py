"""`scores.json`: every prompt's answers scored, compared and broken down."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
from kit.config.schema import Config
from kit.evaluate.alike import most_alike
from kit.evaluate.axes import metric_axes
from kit.evaluate.baselines import Found, Trivial, baseline_entries, score_baselines, trivial
from kit.evaluate.calibration_scores import add_calibration
from kit.evaluate.compare import Settings, explore
from kit.evaluate.contract import SCHEMA
from kit.evaluate.conversations import by_group
from kit.evaluate.entry import compared_entry
from kit.evaluate.goodput import with_load
from kit.evaluate.item_metric import CorpusMetric
from kit.evaluate.leaks import find_leaks
from kit.evaluate.material import Answered, Material
from kit.evaluate.memorisation import NAME as MEMORISED
from kit.evaluate.memorisation import memorisation_entry, unscored_memorisation
from kit.evaluate.metrics import LoadedMetric, MetricResult, score
from kit.evaluate.nearest import nearest_example
from kit.evaluate.perplexity import NAME, perplexity_entry, unscored_perplexity
from kit.evaluate.power import minimum_detectable_effect
from kit.evaluate.predictions import Key, Line
from kit.evaluate.prompts import Prompt
from kit.evaluate.severity import count_severities, harm_of, names_rules
from kit.evaluate.timing import SYSTEMS, response_time_entry, summarise_latency, unscored_response_time
from kit.evaluate.training import look_through
from kit.evaluate.turns import by_turn
from kit.evaluate.validity import (
    UNPARSABLE,
    WRONG_LANGUAGE,
    AskedLanguages,
    invalid_rates,
    invalid_reason,
    languages_of,
)
from kit.evaluate.worst_at_k_scores import drawn_answers, worst_at_k

_DETAILS_SHOWN = 20


def build_scores(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    predictions: dict[Key, Line],
    latency: Sequence[Line],
    header: dict[str, Any],
    likelihood: Sequence[Line] = (),
    memorisation: Sequence[Line] = (),
    prepared: Path | None = None,
    confidence: Sequence[Line] | None = None,
) -> dict[str, Any]:
    """Everything of `scores.json` (see docs/explanation/architecture.md).

    Args:
        prompts: in the order of their ids, so that the order of the data changes nothing.
        predictions: an answer for every prompt, system and decoding, and every further sampled one.
        latency: lines of `latency.jsonl`, possibly none.
        likelihood: lines of `likelihood.jsonl`, possibly none.
        memorisation: lines of `memorisation.jsonl`, possibly none.
        header: `evaluation`, `run`, `data`, `synthetic`, `synthetic_share`, `conditions`, `definitions`.
        prepared: the prepared data's folder, whose training rows are looked through for the prompts; None
            where the training data is not known, and so neither leaks nor answers to copy.
        confidence: lines of `confidence.jsonl`, possibly none; None where calibration is not looked at.
    """
    training = look_through(prompts, prepared, {m.label_key for m in metrics} - {""}) if prepared else None
    alike = most_alike(prompts, training, config.data.checks.near_similarity) if training else []
    leaks = find_leaks(prompts, training, alike) if training else None
    material = Material(
        config=config,
        metrics=metrics,
        prompts=prompts,
        answered=_all_answered(config, metrics, prompts, predictions),
        baselines=_baselines(config, metrics, prompts, trivial(config, metrics, prompts, training, alike)),
        latency=latency,
        likelihood=likelihood,
        memorisation=memorisation,
        drawn=_drawn(config, metrics, prompts, predictions),
    )
    flagged = {leak.id for leak in leaks or ()}
    scores = {
        "schema": SCHEMA,
        "systems": {system: system for system in SYSTEMS},
        **header,
        "kit_version": kit.__version__,
        "model": config.model.name,
        "seeds": 1,
        "confidence": config.evaluate.confidence,
        **_compared(material, whole=True),
        "calibration": [],
        "leaks": None if leaks is None else [leak.as_json() for leak in leaks],
        "without_leaks": _compared(material.without(flagged), whole=False) if flagged else None,
        "items": [
            _item(prompt, place, material) | {"nearest": nearest_example(alike[place]) if alike else None}
            for place, prompt in enumerate(prompts)
        ],
    }
    if confidence is not None:
        add_calibration(scores, config, confidence, prompts, settings_of(config))
    _explore_all(scores)
    return scores


def _all_answered(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    predictions: dict[Key, Line],
) -> dict[tuple[str, str], Answered]:
    """(decoding, system) -> its answers and their scores."""
    decodings = ["greedy", "sampled"] if config.evaluate.sampling.enabled else ["greedy"]
    languages = languages_of(config)
    return {
        (decoding, system): _answered(metrics, prompts, predictions, system, decoding, languages)
        for decoding in decodings
        for system in SYSTEMS
    }


def _drawn(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    predictions: dict[Key, Line],
) -> dict[str, list[Answered]]:
    """System -> its first, second, … sampled answer to every prompt; none where one a prompt was drawn."""
    answers, languages = config.evaluate.sampling.answers, languages_of(config)
    if answers == 1:
        return {}
    return {
        system: [
            _answered(metrics, prompts, predictions, system, "sampled", languages, sample)
            for sample in range(answers)
        ]
        for system in SYSTEMS
    }


def _baselines(
    config: Config, metrics: Sequence[LoadedMetric], prompts: Sequence[Prompt], copies: Trivial
) -> dict[str, dict[str, Found]]:
    """Metric -> what each trivial system would have scored, as a system's answers are scored."""
    languages = languages_of(config)

    def judge(metric: LoadedMetric, answers: list[str]) -> MetricResult:
        return score_answers(metric, answers, [True] * len(answers), prompts, languages)

    return {metric.name: score_baselines(metric, copies, judge) for metric in metrics}


def _explore_all(scores: dict[str, Any]) -> None:
    """Correct the slices of all metrics of a decoding together, once all of them are there."""
    for part in (scores, scores["without_leaks"] or {"metrics": []}):
        for decoding in {entry["decoding"] for entry in part["metrics"]}:
            entries = [entry for entry in part["metrics"] if entry["decoding"] == decoding]
            explore(entries, scores["confidence"])


def _compared(material: Material, whole: bool) -> dict[str, Any]:
    """Everything of `scores.json` that depends on which prompts are looked at.

    Args:
        whole: all of them are. Of a part nothing can be said of many requests at once: they were served with
            the others.
    """
    settings = settings_of(material.config)
    entries, unscored = _entries(material)
    timed = response_time_entry(material.latency, settings)
    entries += [timed] if timed else []
    unscored += unscored_response_time(material.latency)
    asked = {use.name for use in material.config.evaluate.metrics}
    if MEMORISED in asked:
        given = memorisation_entry(material.memorisation, settings)
        entries += [given] if given else []
        unscored += [] if given else [unscored_memorisation()]
    if NAME in asked:
        read = perplexity_entry(material.likelihood, material.prompts, settings)
        entries += [read] if read else []
        unscored += unscored_perplexity(material.likelihood)
    groups = len({prompt.group for prompt in material.prompts})
    effect = minimum_detectable_effect(groups, confidence=settings.confidence) if groups else None
    times = summarise_latency(material.latency, settings)
    return {
        "prompts": len(material.prompts),
        "groups": groups,
        "validity": {
            decoding: {s: invalid_rates(material.answered[decoding, s].invalid) for s in SYSTEMS}
            for decoding in material.decodings
        },
        "minimum_detectable_effect": effect,
        "metrics": entries,
        "unscored": unscored,
        **({"worst_at_k": worst_at_k(material, settings)} if material.drawn else {}),
        "judge": None,
        "latency": with_load(times, material.latency, material.config.evaluate) if whole else times,
    }


def settings_of(config: Config) -> Settings:
    """How the configuration has intervals made."""
    return Settings(config.evaluate.confidence, config.evaluate.bootstrap_draws, config.seed)


def score_answers(
    metric: LoadedMetric,
    outputs: Sequence[str],
    finished: Sequence[bool],
    prompts: Sequence[Prompt],
    languages: AskedLanguages | None = None,
) -> MetricResult:
    """A metric's items, where invalid answers get the metric's `invalid_item`.

    Args:
        languages: which languages are asked for; None judges by none.
    """
    result = score(metric, outputs, [prompt.reference for prompt in prompts])
    invalid = _invalid([metric], outputs, finished, prompts, languages or AskedLanguages())
    return _judge_invalid(metric, result, invalid, prompts)


def _invalid(
    metrics: Sequence[LoadedMetric],
    outputs: Sequence[str],
    finished: Sequence[bool],
    prompts: Sequence[Prompt],
    languages: AskedLanguages,
) -> list[str | None]:
    """Why each answer is none; unparsable is what one of the metrics, which have scored them, cannot read."""
    reasons: list[str | None] = []
    for output, done, prompt in zip(outputs, finished, prompts, strict=True):
        reference = prompt.reference
        reason = invalid_reason(output, done)
        if reason is None and languages.is_wrong(output, reference):
            reason = WRONG_LANGUAGE
        if reason is None and any(metric.unparsable(output, reference) for metric in metrics):
            reason = UNPARSABLE
        reasons.append(reason)
    return reasons


def _judge_invalid(
    metric: LoadedMetric, result: MetricResult, invalid: Sequence[str | None], prompts: Sequence[Prompt]
) -> MetricResult:
    items, details = list(result.items), list(result.details)
    counts = None if result.counts is None else list(result.counts)
    for place, reason in enumerate(invalid):
        if reason is None or reason in metric.judges:
            continue
        # A hook says by None which prompts do not concern it; the kit's own metrics are asked.
        concerned = metric.hook is None or items[place] is not None
        if concerned and metric.applies(prompts[place].reference):
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
    languages: AskedLanguages,
    sample: int = 0,
) -> Answered:
    lines = [predictions[prompt.id, system, decoding, sample] for prompt in prompts]
    outputs, finished = [line["output"] for line in lines], [line["finished"] for line in lines]
    references = [prompt.reference for prompt in prompts]
    results = {metric.name: score(metric, outputs, references) for metric in metrics}
    invalid = _invalid(metrics, outputs, finished, prompts, languages)
    return Answered(
        outputs=outputs,
        invalid=invalid,
        results={
            metric.name: _judge_invalid(metric, results[metric.name], invalid, prompts) for metric in metrics
        },
    )


def _entries(material: Material) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """An entry a metric and decoding; metrics that no pair of answers could be scored on, apart.

    Baselines answer the same every time, so they stand beside the greedy scores.
    """
    entries, unscored = [], []
    prompts, settings = material.prompts, settings_of(material.config)
    groups = [prompt.group for prompt in prompts]
    for decoding in material.decodings:
        for metric in material.metrics:
            answered = {system: material.answered[decoding, system] for system in SYSTEMS}
            results = {system: answered[system].results[metric.name] for system in SYSTEMS}
            invalid = {system: answered[system].invalid for system in SYSTEMS}
            entry = compare_metric(metric, results["base"], results["tuned"], prompts, settings)
            if entry is None:
                why = f"applies to none of the {len(prompts)} prompts"
                unscored.append(
                    {"name": metric.name, "label": metric.label, "decoding": decoding, "why": why}
                )
            else:
                severities = count_severities(metric, results, invalid, prompts)
                found = material.baselines[metric.name] if decoding == "greedy" else {}
                counted = {
                    "severities": severities,
                    "harm": harm_of(metric),
                    "baselines": baseline_entries(entry, found, results["tuned"], groups, settings),
                }
                axes = metric_axes(metric, answered, prompts, settings)
                shown = {"axes": axes} if axes else {}
                entries.append({**entry, "decoding": decoding, **counted, **shown})
    return entries, unscored


def compare_metric(
    metric: LoadedMetric,
    base: MetricResult,
    tuned: MetricResult,
    prompts: Sequence[Prompt],
    settings: Settings,
) -> dict[str, Any] | None:
    """The `metrics` entry of one metric, as of greedy answers; None if no prompt was scored for both."""
    groups, slices = [prompt.group for prompt in prompts], [prompt.slices for prompt in prompts]
    seen = {item for item in [*base.items, *tuned.items] if item is not None}
    kind = metric.kind or ("rate" if seen <= {0.0, 1.0} else "score")
    told = [result.items if result.counts is None else result.counts for result in (base, tuned)]
    better = metric.higher_is_better
    of_groups = turns = None
    if kind == "rate":
        of_groups = by_group(told[0], told[1], groups, higher_is_better=better, settings=settings)
        turns = by_turn(
            told[0],
            told[1],
            [prompt.conversation for prompt in prompts],
            [prompt.turn for prompt in prompts],
            higher_is_better=better,
            confidence=settings.confidence,
        )
    return compared_entry(
        told,
        groups,
        slices,
        settings,
        name=metric.name,
        label=metric.label,
        about=metric.about,
        kind=kind,
        higher_is_better=better,
        statistic=base.statistic,
        by_group=of_groups,
        turns=turns,
        details=_counts(base, tuned),
    )


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


def _item(prompt: Prompt, place: int, material: Material) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": prompt.id,
        "prompt": prompt.reference["prompt"],
        "answer": prompt.reference["answer"],
        "slices": prompt.slices,
        "group": prompt.group,
    }
    for decoding in material.decodings:
        item[decoding] = {}
        for system in SYSTEMS:
            made = material.answered[decoding, system]
            item[decoding][system] = {
                "output": made.outputs[place],
                "scores": {name: result.items[place] for name, result in made.results.items()},
                "details": {name: r.details[place] for name, r in made.results.items() if r.details[place]},
                "invalid": made.invalid[place],
                "counts": {name: r.counts[place] for name, r in made.results.items() if r.counts},
            }
    return item | ({"drawn": drawn_answers(material.drawn, place)} if material.drawn else {})
