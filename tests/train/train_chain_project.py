"""Rows on disk for projects that learn from pairs, alone or after dialogues."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train_world import dialogue, refusal

APART = 1000
"""Pairs ask other numbers than dialogues, so that no stage's prompts stand in another's test."""


def numbered(number: int) -> dict[str, str]:
    """The question of a dialogue, unlike any other's."""
    asked = dialogue(number)[0]
    return {**asked, "content": f"{asked['content']} It is number {number}."}


def dialogues_of(splits: Sequence[str]) -> list[dict[str, Any]]:
    """A dialogue for each split named."""
    return [
        {"messages": [numbered(number), dialogue(number)[1]], "split": split}
        for number, split in enumerate(splits)
    ]


def pairs_of(splits: Sequence[str]) -> list[dict[str, Any]]:
    """A pair for each split named."""
    return [
        {
            "prompt": numbered(number)["content"],
            "chosen": dialogue(number)[1]["content"],
            "rejected": refusal(number)["content"],
            "split": split,
        }
        for number, split in enumerate(splits, start=APART)
    ]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
