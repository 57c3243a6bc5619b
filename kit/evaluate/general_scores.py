"""The `general` part of `scores.json`: base and tuned on sets outside the case."""

from collections.abc import Mapping, Sequence
from typing import Any

from kit.config.schema import Config
from kit.evaluate.general import General, kept
from kit.evaluate.predictions import Key, Line
from kit.evaluate.scores import compare_metric, score_answers, settings_of
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.validity import invalid_reason


def general_scores(
    config: Config, sets: Sequence[General], predictions: Mapping[Key, Line]
) -> list[dict[str, Any]]:
    """For every set its metrics as in `metrics`, each with `kept`, and how many answers were invalid."""
    return [_scores_of(config, each, predictions) for each in sets]


def _scores_of(config: Config, each: General, predictions: Mapping[Key, Line]) -> dict[str, Any]:
    answers = {
        system: [predictions[prompt.id, system, "greedy", 0] for prompt in each.prompts] for system in SYSTEMS
    }
    entries, unscored = [], []
    for metric in each.metrics:
        base, tuned = (
            score_answers(
                metric,
                [line["output"] for line in answers[system]],
                [line["finished"] for line in answers[system]],
                each.prompts,
            )
            for system in SYSTEMS
        )
        entry = compare_metric(metric, base, tuned, each.prompts, settings_of(config))
        if entry is None:
            why = f"applies to none of the {len(each.prompts)} questions"
            unscored.append({"name": metric.name, "label": metric.label, "decoding": "greedy", "why": why})
            continue
        verdict = kept(
            entry["difference"],
            metric.higher_is_better,
            each.settings.margin,
            entry["groups"],
            config.evaluate.confidence,
        )
        entries.append({**entry, "kept": verdict})
    return {
        "name": each.settings.name,
        "path": each.settings.path,
        "prompts": len(each.prompts),
        "margin": each.settings.margin,
        "invalid": {
            system: sum(invalid_reason(line["output"], line["finished"]) is not None for line in lines)
            for system, lines in answers.items()
        },
        "metrics": entries,
        "unscored": unscored,
    }
