"""Ctrl-C and SIGTERM: a run ends in order, with a checkpoint where there is something to save."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from transformers import TrainerCallback


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
