"""Prepared rows as `grpo` learns from them: the prompt alone, and what its rewards read."""

import json
from collections.abc import Sequence
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.grpo import longest_answer
from kit.config.schema import Config
from kit.data.render import prompt_ids
from kit.rewards import Reward, Row


def prompts_of(rows: Sequence[dict[str, Any]], tokenizer: Any, config: Config) -> list[dict[str, Any]]:
    """Of every row the tokens that serving sends, without its last answer, and the row as JSON text.

    Raises:
        DataError: a prompt and the longest answer exceed `model.max_length`; how many do, and the longest.
    """
    found = [
        {
            "prompt": prompt_ids(
                row["messages"][:-1],
                tokenizer,
                row.get("tools") or [],
                "reasoning_content" in row["messages"][-1],
            ),
            "row": json.dumps(row, ensure_ascii=False),
        }
        for row in rows
    ]
    answer, room = longest_answer(config), config.model.max_length
    sizes = [len(example["prompt"]) for example in found]
    over = sum(size + answer > room for size in sizes)
    if over:
        message = (
            f"{over} of {len(sizes)} prompts leave no room for an answer of {answer} tokens in the {room} of "
            f"model.max_length; the longest has {max(sizes)}"
        )
        hint = "raise model.max_length, lower train.grpo.max_completion_length, or leave those rows out"
        raise DataError(Problem("the training data", message, hint))
    return found


def read_row(text: str) -> Row:
    """A row as rewards read it, from the text that `prompts_of` left."""
    return _read(json.loads(text))


def rewarded(rows: Sequence[dict[str, Any]], rewards: Sequence[Reward]) -> list[dict[str, Any]]:
    """The rows whose answers some reward says something of; the others teach nothing."""
    return [row for row in rows if any(reward.applies(_read(row)) for reward in rewards)]


def refuse_idle(rows: Sequence[dict[str, Any]], rewards: Sequence[Reward]) -> None:
    """Refuse a reward of which nothing would be learned.

    Raises:
        DataError: it applies to no training row.
    """
    hint = "name the columns that it reads in `data.expected`, or take it out of train.grpo.rewards"
    idle = [
        Problem("the training data", f"{name} applies to none of {len(rows)} rows", hint)
        for name in (reward.name for reward in rewards if not any(reward.applies(_read(row)) for row in rows))
    ]
    if idle:
        raise DataError(idle)


def _read(row: dict[str, Any]) -> Row:
    return {**row, "expected": json.loads(row.get("expected") or "{}")}
