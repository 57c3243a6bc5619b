"""The block `worst_at_k` of `scores.json`: of several sampled answers to a prompt, the expected worst of k.

Everything else in `scores.json` looks at the first sampled answer alone, so that no figure, test or gate
changes with how many are drawn, and the answers to a prompt are never taken for independent witnesses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kit.evaluate import statistics
from kit.evaluate.compare import Compared, Settings, compare
from kit.evaluate.item_metric import CorpusMetric
from kit.evaluate.judge_gate import NAME as JUDGE
from kit.evaluate.judge_scores import LABEL
from kit.evaluate.material import Answered, Material
from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.severity import count_severities
from kit.evaluate.statistics import Floats, Interval
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.validity import invalid_rates
from kit.evaluate.worst_at_k import expected_worst

_OF_ALL = "is a figure of all answers together: single answers have no score of it"
_ENOUGH = 10
"""So many groups of prompts with some of either, as for the normal approximation of a binomial."""
_DIGITS = 12
"""A share is rounded to so many, so that 1 made from a sum of fractions is 1."""


def worst_at_k(material: Material, settings: Settings) -> dict[str, Any]:
    """The block (`kit.evaluate.contract_worst`) of material that has several drawn answers a prompt."""
    drawn = material.drawn
    metrics, unscored = [], []
    for metric in material.metrics:
        found = None if _is_of_all(metric) else _entry(metric, material, settings)
        if found is None:
            why = _OF_ALL if _is_of_all(metric) else "no prompt has a score of every answer of both systems"
            unscored.append({"name": metric.name, "label": metric.label, "why": why})
        else:
            metrics.append(found)
    if material.config.evaluate.judge is not None:
        why = "no judge is asked about further answers, each of which would cost as much as the first"
        unscored.append({"name": JUDGE, "label": LABEL, "why": why})
    return {
        "answers": len(drawn["base"]),
        "validity": {
            system: invalid_rates([reason for answered in drawn[system] for reason in answered.invalid])
            for system in SYSTEMS
        },
        "metrics": metrics,
        "unscored": unscored,
        "further": {system: _first_further(material, system) for system in SYSTEMS},
        "severities": {
            metric.name: counted
            for metric in material.metrics
            if (counted := _severities(metric, material)) is not None
        },
    }


def drawn_answers(drawn: Mapping[str, Sequence[Answered]], place: int) -> dict[str, Any]:
    """What `items` has of every answer that was drawn to the prompt at a place."""
    return {
        system: [
            {
                "output": answered.outputs[place],
                "scores": {name: result.items[place] for name, result in answered.results.items()},
                "details": {
                    name: result.details[place]
                    for name, result in answered.results.items()
                    if result.details[place]
                },
                "invalid": answered.invalid[place],
            }
            for answered in drawn[system]
        ]
        for system in SYSTEMS
    }


def _is_of_all(metric: LoadedMetric) -> bool:
    return isinstance(metric.module, CorpusMetric) and not metric.module.is_mean


def _first_further(material: Material, system: str) -> int:
    """The first of the drawn answers that is not the one of a decoding: of an evaluation, and of a file that
    holds several, the second."""
    first = material.drawn[system][0].outputs
    return int(any(material.answered[decoding, system].outputs == first for decoding in material.decodings))


def _severities(metric: LoadedMetric, material: Material) -> dict[str, Any] | None:
    """How many further answers break a rule of each severity: a gate without tolerance looks at every one."""
    counted = {}
    for system in SYSTEMS:
        further = material.drawn[system][_first_further(material, system) :]
        details = [said for answered in further for said in answered.results[metric.name].details]
        invalid = [reason for answered in further for reason in answered.invalid]
        prompts = [prompt for _ in further for prompt in material.prompts]
        found = {system: MetricResult([], details)}
        counted[system] = count_severities(metric, found, {system: invalid}, prompts)
    base, tuned = counted["base"], counted["tuned"]
    if base is None or tuned is None:
        return None
    return {severity: base[severity] | tuned[severity] for severity in base}


def _entry(metric: LoadedMetric, material: Material, settings: Settings) -> dict[str, Any] | None:
    """A metric's figures for every k; None where no prompt can be scored."""
    items = {
        system: np.array(
            [answered.results[metric.name].items for answered in material.drawn[system]], dtype=np.float64
        ).T
        for system in SYSTEMS
    }  # [prompts, answers]; None became NaN
    # An answer without a score might be the worst one: its prompt says nothing of the worst of k.
    kept = np.flatnonzero(~np.isnan(np.hstack([*items.values()])).any(axis=1)).tolist()
    if not kept:
        return None
    groups = [material.prompts[place].group for place in kept]
    scores = {system: table[kept] for system, table in items.items()}
    seen = {float(value) for table in scores.values() for value in np.unique(table)}
    kind = metric.kind or ("rate" if seen <= {0.0, 1.0} else "score")
    worst = {system: expected_worst(table, metric.higher_is_better) for system, table in scores.items()}
    answers = worst["base"].shape[1]
    at = []
    for k in range(1, answers + 1):
        base, tuned = (worst[system][:, k - 1] for system in SYSTEMS)
        compared = _compared(metric, kind, base, tuned, groups, settings)
        figures = compared.as_json(tested=k == answers)
        at.append({"k": k, **{key: figures[key] for key in (*SYSTEMS, "difference")}})
    return {
        "name": metric.name,
        "label": metric.label,
        "kind": kind,
        "higher_is_better": metric.higher_is_better,
        "n": len(kept),
        "groups": len(set(groups)),
        "at": at,
        "verdict": compared.verdict,
    }


def _compared(
    metric: LoadedMetric,
    kind: Literal["rate", "score"],
    base: Floats,
    tuned: Floats,
    groups: Sequence[str],
    settings: Settings,
) -> Compared:
    """Both systems at one k, of every prompt its own expected worst.

    Of a rate that is a yes or no at the last k, tested as any rate is, and a share before.
    """
    better, module = metric.higher_is_better, metric.module
    if isinstance(module, CorpusMetric):  # the mean is held within its range, and no answer is
        x, y = ([[value, 1.0] for value in side.tolist()] for side in (base, tuned))
        found = compare(
            x, y, groups, kind=kind, higher_is_better=better, settings=settings, statistic=module.statistic
        )
        assert found is not None  # noqa: S101  # there are prompts
        return found
    if kind == "rate":
        base, tuned = np.round(base, _DIGITS), np.round(tuned, _DIGITS)
    all_or_none = kind == "rate" and {*base.tolist(), *tuned.tolist()} <= {0.0, 1.0}
    found = compare(
        base.tolist(),
        tuned.tolist(),
        groups,
        kind="rate" if all_or_none else "score",
        higher_is_better=better,
        settings=settings,
    )
    assert found is not None  # noqa: S101  # there are prompts
    if kind == "score" or all_or_none:
        return found
    return replace(
        found,
        base=stretched(found.base, base, groups, settings.confidence),
        tuned=stretched(found.tuned, tuned, groups, settings.confidence),
    )


def stretched(interval: Interval, shares: Floats, groups: Sequence[str], confidence: float) -> Interval:
    """A bootstrap interval of the mean of shares from 0 to 1, stretched to Wilson's where few say anything.

    Where hardly a prompt has a fault among its answers, or hardly one is without, draws of prompts hardly
    spread: of 4% of 80 prompts, three in ten of whose answers have it, they cover 88% for 95%. Wilson's takes
    every prompt for one yes or no, and a share between varies less; where ten groups have either, draws do.
    """
    with_some = {group for group, share in zip(groups, shares, strict=True) if share > 0}
    not_all = {group for group, share in zip(groups, shares, strict=True) if share < 1}
    if min(len(with_some), len(not_all)) >= _ENOUGH:
        return interval
    wilson = statistics.wilson(float(shares.sum()), len(shares), confidence)
    low, high = min(interval.low, wilson.low), max(interval.high, wilson.high)
    return Interval(interval.estimate, low, high, f"{interval.method}, stretched to Wilson")
