"""How `bench/train.py` and the contestants it starts talk: an epoch at a time, when it is their turn.

Every contestant is a process of its own that trains for many epochs and waits for a line before each. So all
share the same minutes of a busy machine, their peak memory is their own, and one may live in an environment
with other versions. This file imports no more than Python has.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

EPOCHS = 1000
"""More than are ever asked for; the last line ends a contestant before."""


class Turns:
    """A contestant's side: answers with what an epoch took, and ends the process when no more is asked for.

    Args:
        answers: where answers go, which nothing else writes to.
    """

    def __init__(self, answers: TextIO) -> None:
        self.answers = answers
        self.facts: dict[str, Any] = {}
        """Goes along with the first answer."""
        self.cpu = self.wall = 0.0
        self.before = 0

    def imported(self) -> None:
        """Libraries are loaded, the model is not: memory counts from here."""
        self.before = resident()

    def begin(self) -> None:
        """Wait for the turn. The line says nothing; no line ends the process, whatever its trainer plans."""
        if not sys.stdin.readline():
            self.answers.flush()
            os._exit(0)
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def end(self) -> None:
        """Tell what the epoch took."""
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        told = {"cpu": cpu, "wall": wall, "peak": resident("VmHWM"), "before": self.before, **self.facts}
        self.answers.write(json.dumps(told) + "\n")
        self.answers.flush()
        self.facts = {}


def resident(field: str = "VmRSS") -> int:
    """Bytes of this process in memory; `VmHWM` is the most there ever were. 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def take_turns() -> Turns:
    """Keep standard output for answers; what libraries print goes where errors go."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Turns(answers)


def into_trainers(turns: Turns) -> None:
    """Have every trainer of transformers made from here on take its epochs by turns."""
    from transformers import TrainerCallback, trainer

    class ByTurns(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            turns.begin()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            turns.end()

    trainer.DEFAULT_CALLBACKS.append(ByTurns)

