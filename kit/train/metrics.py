"""A run's `metrics.jsonl`: reading it, cutting it back to a checkpoint, and what its losses show."""

import json
import shutil
from pathlib import Path
from typing import Any

from kit.files import write_text
from kit.train.runs import step_of

FLUCTUATION_WINDOW = 5
"""Logged losses whose mean the next one is compared with."""


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, oldest first; a half-written last line is left out."""
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # the machine went down within a write
            break
    return found


def forget_after(run: Path, step: int) -> list[dict[str, Any]]:
    """Drop what was left after `step`, the checkpoint a run continues from; the metrics that stay.

    Half-written checkpoints go too: the trainer counts them when it deletes all but the newest.
    """
    for checkpoint in (run / "checkpoints").glob("checkpoint-*"):
        if step_of(checkpoint) > step:
            shutil.rmtree(checkpoint)
    for unfinished in run.glob(".golden.*"):
        shutil.rmtree(unfinished)
    kept = [line for line in read_metrics(run) if line["step"] <= step]
    write_text(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
    return kept


def fluctuation(losses: list[float], window: int = FLUCTUATION_WINDOW) -> float:
    """The largest rise of a loss over the mean of the `window` losses before it; 0 if it only falls.

    A steep fall is learning, not fluctuation, so only rises count.
    """
    rises = [0.0]
    for index in range(1, len(losses)):
        before = losses[max(0, index - window) : index]
        rises.append(losses[index] - sum(before) / len(before))
    return max(rises)


def loss_summary(lines: list[dict[str, Any]]) -> dict[str, float | None]:
    """First and last training loss of a run and the largest rise in between, from its metrics.

    Of grpo it is minus the mean reward: its loss compares answers with each other, and is about 0 whatever
    they are worth. Rewards are of a few drawn answers, so that a rise says nothing.
    """
    drawn = [line["reward"] for line in lines if line["kind"] == "train" and line.get("rewards")]
    if rewards := [-reward for reward in drawn if reward is not None]:
        return {"first": rewards[0], "last": rewards[-1], "max_fluctuation": None}
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    if not losses:
        return {"first": None, "last": None, "max_fluctuation": None}
    return {"first": losses[0], "last": losses[-1], "max_fluctuation": round(fluctuation(losses), 6)}
