"""A run's `metrics.jsonl`: reading it, cutting it back to a checkpoint, and what its losses show."""

import json
import shutil
from pathlib import Path
from typing import Any

from kit.files import write_text
from kit.train.checkpoints import forget_checkpoints, read_pending, step_of

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


def forget_after(run: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Drop what was left after `checkpoint`, from which a run goes on; the metrics that stay.

    Half-written files and later checkpoints go too. Of a validation that the checkpoint owes, what was
    recorded goes: it is done again.
    """
    for unfinished in run.glob(".*"):
        shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
    step = step_of(checkpoint)
    forget_checkpoints(run, step)
    owed = read_pending(checkpoint).get("validation", False)
    kept = [
        line
        for line in read_metrics(run)
        if line["step"] <= step and not (owed and line["step"] == step and line["kind"] == "eval")
    ]
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
    """First and last training loss of a run and the largest rise in between, from its metrics."""
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    if not losses:
        return {"first": None, "last": None, "max_fluctuation": None}
    return {"first": losses[0], "last": losses[-1], "max_fluctuation": round(fluctuation(losses), 6)}
