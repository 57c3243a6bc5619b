"""The case's metrics as rewards: what training by `grpo` is told of the answers it draws.

Saying nothing breaks no rule. So an answer that is none (empty, cut, repeating, in a wrong language, without
the form that a metric reads) is never rewarded like a safe one: it gets the worst that the metric gives, as
does one that the metric cannot judge where it could judge others to the same prompt.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError
from kit.config.grpo import rewards_of
from kit.config.schema import Config, MetricUse
from kit.data.prepared import load_split
from kit.data.render import stop_ids
from kit.data.tools import said
from kit.data.turns import thought_end
from kit.evaluate.generate import read_answer
from kit.evaluate.item_metric import Reference
from kit.evaluate.metrics import LoadedMetric, load_metric, score
from kit.evaluate.prompts import Prompt
from kit.evaluate.validity import AskedLanguages, invalid_reason, languages_of
from kit.hooks import Hooks
from kit.rewards import Reward, Row


def load_rewards(config: Config, root: Path, prepared: Path, hooks: Hooks) -> list[Reward]:
    """The rewards of `train.grpo`, ready to score.

    Args:
        prepared: the prepared data, whose rows name the labels and languages that metrics look for. Of a
            few answers at a time they would not be known.

    Raises:
        ConfigError: every metric that is unknown, does not score answers or has parameters that do not fit.
    """
    uses = {use.name: use for use in config.evaluate.metrics}
    metrics, problems = [], []
    for name in rewards_of(config):
        try:
            metrics.append(load_metric(uses.get(name, MetricUse(name=name)), hooks, root, config.languages))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    references = _references(prepared)
    for metric in metrics:
        if metric.module is not None:
            metric.module.prepare(references, **metric.params)
    languages = languages_of(config)
    return [
        reward_of(metric, weight, metrics, languages)
        for metric, weight in zip(metrics, rewards_of(config).values(), strict=True)
    ]


def _references(prepared: Path) -> list[Reference]:
    """What metrics read of every row that is trained on or validated with."""
    splits = [name for name in ("train", "valid") if list((prepared / name).glob("*.arrow"))]
    rows = [row for name in splits for row in load_split(prepared, name)]
    return [prompt_of({"messages": row.messages, "expected": row.expected}).reference for row in rows]


def reward_of(
    metric: LoadedMetric,
    weight: float,
    metrics: Sequence[LoadedMetric],
    languages: AskedLanguages,
) -> Reward:
    """A metric as a reward.

    Args:
        metrics: all that are rewarded by: an answer without the form that one of them reads is invalid for
            all.
        languages: those that answers may be in.
    """

    def applies(row: Row) -> bool:
        return metric.applies(prompt_of(row).reference)

    def reward(tokenizer: Any, tokens: Sequence[Sequence[int]], rows: Sequence[Row]) -> list[float | None]:
        prompts = [prompt_of(row) for row in rows]
        outputs, finished = _texts(tokenizer, tokens, prompts)
        return reward_answers(metric, outputs, finished, prompts, metrics, languages)

    return Reward(metric.name, weight, applies, reward)


def prompt_of(row: Row) -> Prompt:
    """A prepared row as evaluation would ask it."""
    *before, answer = row["messages"]
    return Prompt(
        id="",
        messages=before,
        expected=row["expected"],
        slices={},
        group="",
        answer=said(answer),
        tools=row.get("tools") or [],
        thinks="reasoning_content" in answer,
    )


def _texts(
    tokenizer: Any, tokens: Sequence[Sequence[int]], prompts: Sequence[Prompt]
) -> tuple[list[str], list[bool]]:
    """Answers as evaluation reads them, and whether each ended by itself."""
    stops, end = stop_ids(tokenizer), thought_end(tokenizer)
    read = [
        read_answer(tokenizer, answer, stops, end if prompt.thinks else "")
        for answer, prompt in zip(tokens, prompts, strict=True)
    ]
    return [text for text, _, _ in read], [ended for _, _, ended in read]


def reward_answers(
    metric: LoadedMetric,
    outputs: Sequence[str],
    finished: Sequence[bool],
    prompts: Sequence[Prompt],
    metrics: Sequence[LoadedMetric],
    languages: AskedLanguages,
) -> list[float | None]:
    """The rewards of answers, the sign flipped where the metric is better lower.

    Returns:
        None for every answer to a prompt that the metric says nothing of.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    references = [prompt.reference for prompt in prompts]
    if metric.hook is not None:
        items = score(metric, outputs, references).items
    else:
        items = [metric.item(output, one) for output, one in zip(outputs, references, strict=True)]
    values = [None if item is None else sign * item for item in items]
    asked = [
        json.dumps([prompt.messages, reference])
        for prompt, reference in zip(prompts, references, strict=True)
    ]
    concerned = {key for key, value in zip(asked, values, strict=True) if value is not None}
    valid = [
        _is_valid(output, done, reference, metrics, languages)
        for output, done, reference in zip(outputs, finished, references, strict=True)
    ]
    judged = [value for value, good in zip(values, valid, strict=True) if good and value is not None]
    worst = min([sign * metric.invalid_item, *judged])
    return [
        None if key not in concerned else value if good and value is not None else worst
        for key, value, good in zip(asked, values, valid, strict=True)
    ]


def _is_valid(
    output: str,
    finished: bool,
    reference: Reference,
    metrics: Sequence[LoadedMetric],
    languages: AskedLanguages,
) -> bool:
    if invalid_reason(output, finished) or languages.is_wrong(output, reference):
        return False
    return not any(metric.unparsable(output, reference) for metric in metrics)
