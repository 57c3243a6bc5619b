"""Ctrl-C and SIGTERM: a run ends in order, with a checkpoint where there is something to save."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from transformers import TrainerCallback

from kit.config.errors import Terminated
from kit.train.processes import highest
from kit.train.saving import ResumableTrainer

SHORTEST_NOTICE = 30
"""Seconds between SIGTERM and the end of a spot machine: 30 on Google Cloud and Azure, 120 on AWS."""


class Interruption(TrainerCallback):  # type: ignore[misc]
    """Turns a signal into a checkpoint after the step or save that runs; a validation is left off.

    Outside training there is nothing to save, so it stops at once. A second Ctrl-C always does. A second
    SIGTERM changes nothing: those who send it repeat it, and it would cut off the save, or what the first one
    left to be written after it.

    Args:
        called: what a run that is a part of something is called: nobody resumes it, so it saves nothing.
    """

    def __init__(self, console: Console, called: str = "") -> None:
        self.console = console
        self.called = called
        self.asked = False
        self.terminated = False
        self.training = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        again, self.asked = self.asked, True
        self.terminated |= number == signal.SIGTERM
        if (again and number == signal.SIGINT) or not (again or self.training):
            self.stop()
        if again:
            return
        after = "stopped by SIGTERM" if number == signal.SIGTERM else "press Ctrl-C again to stop at once"
        self.console.print(f"[yellow]finishing the step that runs and saving; {after}")

    def stop(self) -> None:
        """End the run with the exit code that its signal asks for.

        Raises:
            Terminated: SIGTERM was among the signals.
            KeyboardInterrupt: it was not.
        """
        raise Terminated if self.terminated else KeyboardInterrupt

    def agree_to_stop(self) -> bool:
        """Whether any of the processes was asked to stop: all stop at the same step, with the same code."""
        asked = highest(2 if self.terminated else int(self.asked))
        self.terminated |= asked == 2
        return asked > 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on there is something to save."""
        self.training = not self.called

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last checkpoint is written."""
        self.training = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop, if that was asked for."""
        if self.agree_to_stop():
            control.should_save = True
            control.should_training_stop = True

    on_evaluate = on_step_end

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop: what would be saved has just been."""
        if self.agree_to_stop():
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


class Notice(TrainerCallback):  # type: ignore[misc]
    """Measures whether a step and a save fit into the notice that spot machines give; warns once if not.

    Args:
        manifest: gets `seconds_to_save`, the longest so far.
    """

    def __init__(self, trainer: ResumableTrainer, manifest: dict[str, Any], console: Console) -> None:
        self.trainer = trainer
        self.manifest = manifest
        self.console = console
        self.longest_step = self.longest_save = self.began = 0.0
        self.warned = False

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop it."""
        self.longest_step = max(self.longest_step, time.perf_counter() - self.began)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note how long the save took, and say so where a spot machine would not wait."""
        self.longest_save = max(self.longest_save, self.trainer.seconds_to_save or 0.0)
        self.manifest["seconds_to_save"] = round(self.longest_save, 2)
        seconds = self.longest_step + self.longest_save
        if seconds > SHORTEST_NOTICE and not self.warned:
            self.warned = True
            self.console.print(
                f"[yellow]a step takes up to {self.longest_step:.0f} s and a save {self.longest_save:.0f} s: "
                f"a spot machine that gives {SHORTEST_NOTICE} s' notice may be gone before the checkpoint "
                "is whole; the one before it then stands"
            )
