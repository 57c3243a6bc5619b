"""What watches a run: curves, the golden checkpoint, early stopping, progress, Ctrl-C.

Each callback has one job. All they need to continue an interrupted run is in `metrics.jsonl`, so they
keep no state of their own in checkpoints.
"""

import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

from kit.config.errors import InvalidRunError, Problem
from kit.files import new_folder, write_json, write_text
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
    """First and last training loss of a run and the largest rise in between, from its metrics."""
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    if not losses:
        return {"first": None, "last": None, "max_fluctuation": None}
    return {"first": losses[0], "last": losses[-1], "max_fluctuation": round(fluctuation(losses), 6)}


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Appends every logged value to `metrics.jsonl`; tokens per second exclude evaluation and padding."""

    def __init__(self, run: Path) -> None:
        self.path = run / "metrics.jsonl"
        self.busy = 0.0
        self.tokens = 0
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count tokens from where the run stands."""
        self.tokens = state.num_input_tokens_seen

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock, and log the last step whatever `logging_steps` says."""
        self.busy += time.perf_counter() - self.began
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Write one line for training values, one for an evaluation; ignore summaries."""
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        if "loss" in logs:
            speed = (state.num_input_tokens_seen - self.tokens) / self.busy if self.busy else 0.0
            self.tokens, self.busy = state.num_input_tokens_seen, 0.0
            names = ("loss", "learning_rate", "grad_norm")
            line |= {"kind": "train", **{name: _finite(logs.get(name)) for name in names}}
            line |= _rewards(logs, "")
            line["tokens_per_second"] = logs["tokens_per_second"] = round(speed, 1)  # for bar and trackers
        elif "eval_loss" in logs:
            line |= {
                "kind": "eval",
                "eval_loss": logs["eval_loss"],
                "task_score": logs.get("eval_task_score"),
                **_rewards(logs, "eval_"),
            }
        else:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def _rewards(logs: dict[str, float], prefix: str) -> dict[str, float | None]:
    """Of preference stages: how far chosen answers are ahead of rejected ones, and in how many pairs."""
    names = {"reward_margin": f"{prefix}rewards/margins", "reward_accuracy": f"{prefix}rewards/accuracies"}
    return {ours: _finite(logs[theirs]) for ours, theirs in names.items() if theirs in logs}


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


@dataclass
class Best:
    """The evaluations of a run so far, which was best, and for how long the score stood still.

    Best is the highest score, and among equal scores the lowest validation loss: a case's score is often
    perfect long before the model has learned all it can. Patience looks at the score alone. A loss nearly
    always falls a little more, so a run whose score stands still would otherwise never stop.
    """

    history: list[tuple[float, float]] = field(default_factory=list)
    """Score (higher is better) and minus the validation loss of each evaluation."""
    lost: int = 0
    """So many of the first are out of the choice, because the weights of the best of them got lost."""

    def add(self, score: float, loss: float) -> bool:
        """Record an evaluation; whether its weights are the ones to keep."""
        evaluation = (score, -loss)
        open_to_choice = self.history[self.lost :]
        better = not open_to_choice or evaluation > max(open_to_choice)
        self.history.append(evaluation)
        return better

    @property
    def evaluations_since(self) -> int:
        """Evaluations after the first one that had the best score."""
        scores = [score for score, _ in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0


class Golden(TrainerCallback):  # type: ignore[misc]
    """Keeps the checkpoint with the best validation score, and stops a run that no longer gets better.

    The score is the task score where there is one, else minus the validation loss: higher is better.
    """

    def __init__(
        self,
        run: Path,
        metric: str,
        patience: int,
        best: Best,
        save: Callable[[Path], None],
        facts: dict[str, Any],
    ) -> None:
        self.run = run
        self.metric = metric
        self.patience = patience
        self.best = best
        self.save = save
        self.facts = facts
        self.stopped_early = False

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Compare this evaluation with the best so far."""
        loss = metrics["eval_loss"]
        score = metrics.get("eval_task_score", -loss)
        if not (math.isfinite(loss) and math.isfinite(score)):
            raise InvalidRunError(
                Problem(
                    where=str(self.run),
                    message=f"validation at step {state.global_step} gave loss {loss} and score {score}",
                    hint="lower `train.learning_rate`",
                )
            )
        if self.best.add(score, loss):
            self.keep(state.global_step, score, loss)
        if self.best.evaluations_since >= self.patience and state.global_step < state.max_steps:
            self.stopped_early = True
            control.should_training_stop = True

    def keep(self, step: int, score: float | None, loss: float | None) -> None:
        """Write the weights as they are now as the golden checkpoint."""
        record = {"step": step, "metric": self.metric, "score": score, "eval_loss": loss, **self.facts}
        with new_folder(self.run / "golden") as folder:
            self.save(folder)
            write_json(folder / "golden.json", record)


class Bar(TrainerCallback):  # type: ignore[misc]
    """Shows a progress bar with loss, speed and time left; without a terminal it stays silent.

    While something else than a step runs, a second bar says what, and that it is alive.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the bar, at the step a resumed run continues from."""
        self.task = self.progress.add_task(
            "training", total=state.max_steps, completed=state.global_step, loss="", score="", speed=""
        )

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show `what` as long as the block runs, with the time it has taken."""
        task = self.progress.add_task(what, total=None, loss="", score="", speed="")
        try:
            yield
        finally:
            self.progress.remove_task(task)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move it on."""
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the newest loss and score."""
        if "loss" in logs:
            speed = f"{logs['tokens_per_second']:,.0f} tokens/s"
            self.progress.update(self.task, loss=f"loss {logs['loss']:.3f}", speed=speed)
        if "eval_task_score" in logs:
            self.progress.update(self.task, score=f"score {logs['eval_task_score']:.3f}")


def progress_bar(console: Console) -> Progress:
    """A bar with steps done, loss, score, speed, time spent and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]} {task.fields[score]} {task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class Interruption(TrainerCallback):  # type: ignore[misc]
    """Turns Ctrl-C into a checkpoint after the step, validation or save that runs.

    Outside training there is nothing to save, so it stops at once; a second Ctrl-C always does.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.asked = False
        self.training = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.asked or not self.training:
            raise KeyboardInterrupt
        self.asked = True
        self.console.print("[yellow]finishing what runs now and saving; press Ctrl-C again to stop at once")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on there is something to save."""
        self.training = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last checkpoint is written."""
        self.training = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop, if that was asked for."""
        if self.asked:
            control.should_save = True
            control.should_training_stop = True

    on_evaluate = on_step_end

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop: what would be saved has just been."""
        if self.asked:
            control.should_training_stop = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM within the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
