"""How a run is shown while it runs: a bar in a terminal, a line a minute in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

WIDE = 110
"""Columns of a terminal from which on there is room for the bar itself and the time spent."""
AROUND = 34
"""Columns that the name, the steps and the time left take."""
EVERY_SECONDS = 60.0
"""Between two lines in a log."""


class Bar(TrainerCallback):  # type: ignore[misc]
    """Shows a progress bar with loss, rate, speed, memory and time left; without a terminal it stays silent.

    While something else than a step runs, a second bar says what, and that it is alive.

    Args:
        called: what the bar is called; with a name of its own, nothing is told beside it.
    """

    def __init__(self, progress: Progress, called: str = "") -> None:
        self.progress = progress
        self.called = called
        self.task: Any = None
        self.score: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the bar, at the step a resumed run continues from."""
        self.task = self.progress.add_task(
            self.called or "training", total=state.max_steps, completed=state.global_step, shown=""
        )

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show `what` as long as the block runs, with the time it has taken."""
        task = self.progress.add_task("now", total=None, shown=what)  # short, so that both fit beside it
        try:
            yield
        finally:
            self.progress.remove_task(task)

    def tell(self, line: str) -> None:
        """Print a line above the bar."""
        if not self.called:
            self.progress.console.print(line, highlight=False, soft_wrap=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move it on."""
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the newest values."""
        if "loss" in logs:
            room = self.progress.console.width - AROUND
            self.progress.update(self.task, shown=measured(logs, self.score, room))
        if "eval_task_score" in logs:
            self.score = logs["eval_task_score"]


class Lines(Bar):
    """For logs, where a bar cannot move: a line a minute says how far the run is and what runs."""

    def __init__(self, progress: Progress, called: str = "") -> None:
        super().__init__(progress, called)
        self.last = self.began = time.monotonic()
        self.first = 0
        self.state: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Time is counted from here, and from the step a resumed run continues from."""
        super().on_train_begin(args, state, control)
        self.state, self.first, self.began = state, state.global_step, time.monotonic()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say what runs, where nothing was said for a minute."""
        if self.state is not None:
            self.say(what)
        with super().doing(what):
            yield

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Say how far the run is, where nothing was said for a minute."""
        super().on_log(args, state, control, logs)
        if "loss" in logs:
            self.say(measured(logs, self.score))

    def say(self, what: str) -> None:
        """Print a line with the step and the time left, unless one was printed within the last minute."""
        now, state = time.monotonic(), self.state
        if now - self.last < EVERY_SECONDS:
            return
        self.last = now
        done = state.global_step - self.first
        left = (state.max_steps - state.global_step) * (now - self.began) / done if done else None
        time_left = "" if left is None else f", {left / 60:,.0f} min left"
        begin = f"{self.called}, " if self.called else ""
        line = f"{begin}step {state.global_step:,} of {state.max_steps:,}: {what}{time_left}"
        self.progress.console.print(line, highlight=False, soft_wrap=True)


def measured(logs: dict[str, float], score: float | None, room: int = 1000) -> str:
    """Loss, speed, memory, rate, task score and, where the device's peak is known, MFU: as many as fit."""
    parts = [f"loss {logs['loss']:.3f}", f"{logs['tokens_per_second']:,.0f} tok/s"]
    parts += [f"mem {logs['memory_share']:.0%}", f"lr {logs['learning_rate']:.0e}"]
    parts += [] if score is None else [f"score {score:.3f}"]
    parts += [f"MFU {logs['mfu']:.0%}"] if "mfu" in logs else []
    while len(parts) > 1 and len(", ".join(parts)) > room:
        parts.pop()
    return ", ".join(parts)


@contextmanager
def live(console: Console, called: str = "") -> Iterator[Bar]:
    """What shows the run on this console; `called` as of `Bar`."""
    with progress_bar(console) as progress:
        yield Bar(progress, called) if console.is_terminal else Lines(progress, called)


def progress_bar(console: Console) -> Progress:
    """A bar with steps done, what was measured last, and the time left; as wide as the terminal is."""
    wide: list[ProgressColumn] = [BarColumn(bar_width=16)] if console.width >= WIDE else []
    spent: list[ProgressColumn] = [TimeElapsedColumn()] if console.width >= WIDE else []
    return Progress(
        TextColumn("{task.description}"),
        *wide,
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"),
        *spent,
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
    )
