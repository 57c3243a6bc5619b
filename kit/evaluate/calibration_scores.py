"""From `confidence.jsonl` to calibration metrics, for tasks whose answers are right or wrong.

Confidence is the geometric mean probability of an answer's tokens, e^(-nats / tokens), read after the
answers were made: the model reads prompt and answer once more, so no answer is slowed or changed. Which
correctness is meant is the metric's parameter `of`, another metric of `evaluate.metrics`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.config.errors import Problem
from kit.config.schema import Config, MetricUse
from kit.evaluate.baselines import none_apply
from kit.evaluate.bootstrap import enough_clusters, smallest_p_value
from kit.evaluate.calibration import (
    COVERAGES,
    Figure,
    accuracy_by_coverage,
    brier,
    calibration_error,
    equal_mass_bins,
    risk_by_coverage,
)
from kit.evaluate.compare import Settings, compare, compare_slices
from kit.evaluate.entry import metric_entry
from kit.evaluate.metrics import LoadedMetric
from kit.evaluate.metrics.brier_score.brier_score import BrierScore
from kit.evaluate.metrics.calibration_error.calibration_error import CalibrationError
from kit.evaluate.metrics.risk_coverage.risk_coverage import RiskCoverage
from kit.evaluate.predictions import Line
from kit.evaluate.prompts import Prompt
from kit.evaluate.statistics import Floats, Interval, outcome, wilson
from kit.evaluate.timing import SYSTEMS

FILE = "confidence.jsonl"
METRICS = {
    "calibration_error": CalibrationError,
    "brier_score": BrierScore,
    "risk_coverage": RiskCoverage,
}
_DRAWS_AT_ONCE = 500
_POINTS = 50
"""Of a curve: more cannot be seen."""


@dataclass(frozen=True)
class Known:
    """The prompts on which confidence and correctness are known of both systems."""

    of: str
    label: str
    confidence: dict[str, Floats]
    correct: dict[str, Floats]
    groups: list[str]
    slices: list[dict[str, str]]


def asked_for(config: Config) -> list[MetricUse]:
    """The calibration metrics that are asked for."""
    return [use for use in config.evaluate.metrics if use.name in METRICS]


def calibration_problems(config: Config, metrics: Sequence[LoadedMetric]) -> list[Problem]:
    """What is wrong with the calibration metrics' parameter: it names what being right means."""
    problems = []
    fit = {metric.name: metric for metric in metrics if metric.higher_is_better and metric.kind != "score"}
    for use in asked_for(config):
        of = use.params.get("of")
        if set(use.params) != {"of"} or of not in fit:
            found = f"`of` is {of!r}" if "of" in use.params else "there is no `of`"
            known = ", ".join(fit) or "closed_accuracy, say"
            hint = (
                "its one parameter `of` names the metric of evaluate.metrics that says which answers are "
                f"right (0 or 1, higher is better): {known}"
            )
            problems.append(Problem("evaluate.metrics", f"metric {use.name!r}: {found}", hint))
    return problems


def add_calibration(
    scores: dict[str, Any],
    config: Config,
    confidence: Sequence[Line],
    prompts: Sequence[Prompt],
    settings: Settings,
) -> None:
    """Put the entries of `metrics` and `unscored`, and the block `calibration`, into scores that are made.

    The scores without leaked prompts get entries too, made from the other prompts.

    Args:
        scores: with the `items` of every prompt, whose greedy scores say which answers are right.
        confidence: the lines of `confidence.jsonl`.
    """
    scores["calibration"] = _add_entries(scores, scores["items"], config, confidence, prompts, settings)
    if scores["without_leaks"]:
        leaked = {leak["id"] for leak in scores["leaks"]}
        kept = [prompt for prompt in prompts if prompt.id not in leaked]
        lines = [line for line in confidence if line["id"] not in leaked]
        _add_entries(scores["without_leaks"], scores["items"], config, lines, kept, settings)


def _add_entries(
    scores: dict[str, Any],
    items: Sequence[Any],
    config: Config,
    confidence: Sequence[Line],
    prompts: Sequence[Prompt],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Put the entries of `metrics` and `unscored` into scores on some prompts; returns the block's parts."""
    blocks: list[dict[str, Any]] = []
    labels = {entry["name"]: entry["label"] for entry in scores["metrics"] + scores["unscored"]}
    for use in asked_for(config):
        of = str(use.params["of"])
        known = _known(of, labels[of], items, confidence, prompts)
        if not known.groups:
            why = f"no prompt has an answer of both systems that is right or wrong by {of} and could be read"
            label = METRICS[use.name].label
            lost = {"name": use.name, "label": label, "decoding": "greedy", "why": why}
            scores["unscored"].append(lost)
            continue
        scores["metrics"].append(_entry(use.name, known, confidence, settings))
        if of not in {block["of"] for block in blocks}:
            blocks.append(calibration_block(known, settings))
    return blocks


def _known(
    of: str, label: str, items: Sequence[Any], lines: Sequence[Line], prompts: Sequence[Prompt]
) -> Known:
    read = {(line["system"], line["id"]): line for line in lines if line["tokens"]}
    right = {
        (system, item["id"]): item["greedy"][system]["scores"].get(of) for item in items for system in SYSTEMS
    }
    kept = [
        prompt
        for prompt in prompts
        if all((s, prompt.id) in read and right[s, prompt.id] in (0, 1) for s in SYSTEMS)
    ]
    return Known(
        of=of,
        label=label,
        confidence={s: np.array([_confidence(read[s, prompt.id]) for prompt in kept]) for s in SYSTEMS},
        correct={s: np.array([float(right[s, prompt.id]) for prompt in kept]) for s in SYSTEMS},
        groups=[prompt.group for prompt in kept],
        slices=[prompt.slices for prompt in kept],
    )


def _confidence(line: Line) -> float:
    """The geometric mean probability of an answer's tokens."""
    return math.exp(-line["nats"] / line["tokens"])


def _entry(name: str, known: Known, lines: Sequence[Line], settings: Settings) -> dict[str, Any]:
    """A metric's entry. The Brier score is a mean of answers; the others are figures of all of them."""
    kind = METRICS[name]
    about: dict[str, Any] = {
        "name": name,
        "label": f"{kind.label}, by {known.label.lower()}",
        "about": kind.about,
        "kind": kind.kind,
        "higher_is_better": kind.higher_is_better,
        "of_sums": name != "brier_score",
        "details": {system: _unread(lines, system) for system in SYSTEMS},
        "baselines": none_apply("an answer that no model makes has no confidence"),
    }
    if name == "brier_score":
        items = [list(brier(known.confidence[s], known.correct[s])) for s in SYSTEMS]
        how: dict[str, Any] = {"kind": "score", "higher_is_better": False, "settings": settings}
        compared = compare(items[0], items[1], known.groups, **how)
        assert compared is not None  # noqa: S101  # there are answers
        slices = compare_slices(items[0], items[1], known.groups, known.slices, **how)
        return metric_entry(**about, compared=compared.as_json(), slices=slices)
    make = {"calibration_error": calibration_error, "risk_coverage": risk_by_coverage}[name]
    figures = [make(known.confidence[system], known.correct[system]) for system in SYSTEMS]
    return metric_entry(**about, compared=compare_figures(figures, known.groups, settings))


def compare_figures(figures: Sequence[Figure], groups: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Base and tuned by figures of all answers, groups of prompts drawn, the same for both.

    Such figures are no means: drawn anew, an |accuracy - confidence| mostly grows. So an interval reaches as
    far to either side of the estimate as the draws do to the farther one, and the p-value is how often a
    draw differs from the estimate by as much as the estimate from zero.
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    generator, parts = np.random.default_rng(settings.seed), []
    for start in range(0, settings.draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, settings.draws - start)
        weights = generator.multinomial(len(names), [1 / len(names)] * len(names), size=size)[:, index]
        parts.append(np.stack([figure(weights.astype(np.float64)) for figure in figures]))
    drawn = np.concatenate(parts, axis=1)
    found = [float(figure(np.ones(len(groups)))) for figure in figures]
    method = f"bootstrap of the figure, symmetric, {settings.draws:,} draws"
    base, tuned = (_around(found[i], drawn[i], settings, method, 0.0, 1.0) for i in (0, 1))
    gaps, gap = drawn[1] - drawn[0], found[1] - found[0]
    difference = _around(gap, gaps, settings, f"paired {method}", -1.0, 1.0)
    beyond = int(np.sum(np.abs(gaps - gap) >= abs(gap)))
    p_value = max((beyond + 1) / (settings.draws + 1), smallest_p_value(groups))
    verdict = "not shown"
    if enough_clusters(groups, settings.confidence):
        verdict = outcome(
            difference.low, difference.high, p_value, confidence=settings.confidence, higher_is_better=False
        )
    return {
        "n": len(groups),
        "groups": len(names),
        "base": asdict(base),
        "tuned": asdict(tuned),
        "difference": asdict(difference) | {"p_value": p_value},
        "reduction": None,
        "verdict": verdict,
    }


def _around(
    estimate: float, drawn: Floats, settings: Settings, method: str, least: float, most: float
) -> Interval:
    tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
    low, high = np.quantile(drawn, tails)
    half = float(max(high - estimate, estimate - low, 0.0))
    return Interval(estimate, max(least, estimate - half), min(most, estimate + half), method)


def calibration_block(known: Known, settings: Settings) -> dict[str, Any]:
    """Curves and bins for the report."""
    return {
        "of": known.of,
        "label": known.label,
        "n": len(known.groups),
        **{system: _system(known.confidence[system], known.correct[system], settings) for system in SYSTEMS},
    }


def _system(confidence: Floats, correct: Floats, settings: Settings) -> dict[str, Any]:
    n, bins = len(confidence), equal_mass_bins(confidence)
    accuracy = accuracy_by_coverage(confidence, correct)
    answered = {share: max(1, math.ceil(share * n - 1e-9)) for share in COVERAGES}
    points = sorted({max(1, round(n * step / _POINTS)) for step in range(1, _POINTS + 1)})
    shown = {
        share: asdict(wilson(round(accuracy[k - 1] * k), k, settings.confidence))
        | {"estimate": float(accuracy[k - 1]), "n": k}
        for share, k in answered.items()
    }
    return {
        "confidence": float(confidence.mean()),
        "accuracy": float(correct.mean()),
        "coverage": [{"share": share, **figure} for share, figure in shown.items()],
        "curve": [[k / n, float(accuracy[k - 1])] for k in points],
        "bins": [
            {
                "n": int(np.sum(bins == number)),
                "confidence": float(confidence[bins == number].mean()),
                "accuracy": float(correct[bins == number].mean()),
            }
            for number in range(int(bins.max()) + 1)
        ],
    }


def _unread(lines: Sequence[Line], system: str) -> dict[str, int]:
    reasons = [line["why"] for line in lines if line["system"] == system and line["why"]]
    return {f"no confidence: {why}": reasons.count(why) for why in sorted(set(reasons))[:20]}
