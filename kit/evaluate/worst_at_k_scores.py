"""The block `worst_at_k` of `scores.json`: of several sampled answers to a prompt, the expected worst of k.

Everything else in `scores.json` looks at the first sampled answer alone, so that no figure, test or gate
changes with how many are drawn, and the answers to a prompt are never taken for independent witnesses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kit.evaluate.compare import Settings
from kit.evaluate.item_metric import CorpusMetric
from kit.evaluate.judge_gate import NAME as JUDGE
from kit.evaluate.judge_scores import LABEL
from kit.evaluate.material import Answered, Material
from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.severity import count_severities
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.validity import invalid_rates
from kit.evaluate.worst_entry import worst_entry

_OF_ALL = "is a figure of all answers together: single answers have no score of it"


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
        why = "its verdict is asked for of greedy answers only"
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
        system: [answered.results[metric.name].items for answered in material.drawn[system]]
        for system in SYSTEMS
    }
    return worst_entry(
        items,
        [prompt.group for prompt in material.prompts],
        settings,
        name=metric.name,
        label=metric.label,
        kind=metric.kind,
        higher_is_better=metric.higher_is_better,
        statistic=metric.module.statistic if isinstance(metric.module, CorpusMetric) else None,
    )
