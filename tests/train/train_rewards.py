"""Rows and rewards for tests of `grpo`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train_world import dialogue, write_prepared

from kit.rewards import Reward


def write_rewarded(folder: Path, train: int, valid: int) -> Path:
    """As `write_prepared`, with what metrics read beside every row."""
    import datasets

    write_prepared(folder, train, valid)
    for split, numbers in {"train": range(train), "valid": range(train, train + valid)}.items():
        rows = {
            "messages": [dialogue(n) for n in numbers],
            "expected": [json.dumps({"number": n}) for n in numbers],
        }
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split))
    return folder


def reward_by(score: Any, name: str = "told", weight: float = 1.0) -> Reward:
    """A reward of every row: `score(tokens of an answer, its row)`."""

    def scores(tokenizer: Any, tokens: Sequence[Sequence[int]], rows: Sequence[Any]) -> list[float | None]:
        return [score(answer, row) for answer, row in zip(tokens, rows, strict=True)]

    return Reward(name, weight, lambda row: True, scores)


FIRST_HALF = reward_by(lambda answer, row: sum(token < 192 for token in answer) / len(answer), "first_half")
"""The share of an answer's tokens that are of the first half of the vocabulary of 384."""
