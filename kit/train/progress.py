"""The progress bar of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
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
