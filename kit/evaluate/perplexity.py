"""From `likelihood.jsonl` to the perplexity of the reference answers, with intervals over groups."""

from collections.abc import Sequence
from typing import Any

from kit.evaluate.baselines import none_apply
from kit.evaluate.compare import Items, Settings
from kit.evaluate.entry import compared_entry
from kit.evaluate.metrics.answer_perplexity.answer_perplexity import AnswerPerplexity, perplexity
from kit.evaluate.predictions import Line
from kit.evaluate.prompts import Prompt
from kit.evaluate.timing import SYSTEMS

NAME = "answer_perplexity"


def perplexity_entry(
    lines: Sequence[Line], prompts: Sequence[Prompt], settings: Settings
) -> dict[str, Any] | None:
    """The `metrics` entry of perplexity, over the answers that both systems read; None if there are none."""
    read = {(line["system"], line["id"]): [line["nats"], float(line["tokens"])] for line in lines}
    counts: list[Items] = []
    for system in SYSTEMS:
        found = [read.get((system, prompt.id), [0.0, 0.0]) for prompt in prompts]
        counts.append([count if count[1] else None for count in found])
    groups, slices = [prompt.group for prompt in prompts], [prompt.slices for prompt in prompts]
    return compared_entry(
        counts,
        groups,
        slices,
        settings,
        name=NAME,
        label=AnswerPerplexity.label,
        about=AnswerPerplexity.about,
        kind=AnswerPerplexity.kind,
        higher_is_better=AnswerPerplexity.higher_is_better,
        statistic=perplexity,
        details={system: _unread(lines, system) for system in SYSTEMS},
        baselines=none_apply("it is of the reference answers"),
    )


def unscored_perplexity(lines: Sequence[Line]) -> list[dict[str, str]]:
    """The `unscored` entry where it was asked for and no reference answer could be read."""
    if not lines or any(line["tokens"] for line in lines):
        return []
    why = f"no reference answer could be read: {lines[0]['why']}"
    return [{"name": NAME, "label": AnswerPerplexity.label, "decoding": "greedy", "why": why}]


def _unread(lines: Sequence[Line], system: str) -> dict[str, int]:
    reasons = [line["why"] for line in lines if line["system"] == system and line["why"]]
    return {f"not read: {why}": reasons.count(why) for why in sorted(set(reasons))[:20]}
