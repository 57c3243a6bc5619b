"""A run's `metrics.jsonl`: reading it, cutting it back to a checkpoint, and what its losses show."""

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from kit.files import write_text
from kit.train.checkpoints import forget_checkpoints, read_pending, step_of
from kit.train.curve import WINDOW, fluctuation
from kit.train.processes import is_main


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


def validations(lines: list[dict[str, Any]]) -> list[tuple[int, float, float]]:
    """Step, score and loss of every validation in a run's lines; without a score, minus the loss."""
    found = []
    for line in lines:
        if line["kind"] == "eval":
            loss, score = line["eval_loss"], line["task_score"]
            found.append((line["step"], -loss if score is None else score, loss))
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


def append(run: Path, line: dict[str, Any]) -> None:
    """Add a line; of several processes the main one does."""
    if not is_main():
        return
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def loss_summary(lines: list[dict[str, Any]]) -> dict[str, float | None]:
    """First and last training loss of a run and the largest rise in between, from its metrics; null where too
    few losses were logged to tell a rise.

    Of grpo it is minus the mean reward: its loss compares answers with each other, and is about 0 whatever
    they are worth. Rewards are of a few drawn answers, so that a rise says nothing.
    """
    drawn = [line["reward"] for line in lines if line["kind"] == "train" and line.get("rewards")]
    if rewards := [-reward for reward in drawn if reward is not None]:
        return {"first": rewards[0], "last": rewards[-1], "max_fluctuation": None}
    losses = [line["loss"] for line in lines if line["kind"] == "train" and line["loss"] is not None]
    if not losses:
        return {"first": None, "last": None, "max_fluctuation": None}
    steady = round(fluctuation(losses), 6) if len(losses) > WINDOW else None
    return {"first": losses[0], "last": losses[-1], "max_fluctuation": steady}


def watch_summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What else the metrics show, for the manifest.

    Returns:
        `findings` (the events: step, event, message, advice); `memory_peak` with `gib` and `share` of the
        fullest logged step; `tokens_per_second` and `mfu`, the medians of the logged ones;
        `fp16_overflows`, steps left out because a float16 gradient overflowed. Null where nothing was logged.
    """
    trained = [line for line in lines if line["kind"] == "train"]
    names = ("step", "event", "message", "advice")
    return {
        "findings": [{name: line[name] for name in names} for line in lines if line["kind"] == "event"],
        "memory_peak": max(
            (
                {"gib": line["memory_gib"], "share": line["memory_share"]}
                for line in trained
                if "memory_gib" in line
            ),
            key=lambda found: found["gib"],
            default=None,
        ),
        "tokens_per_second": _median(trained, "tokens_per_second"),
        "mfu": _median(trained, "mfu"),
        "fp16_overflows": trained[-1].get("fp16_overflows") if trained else None,
    }


def _median(lines: list[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return round(median(values), 4) if values else None
