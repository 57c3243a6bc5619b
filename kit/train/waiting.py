"""Waiting for another process that builds tiny: how far it is, read from the files of its run."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kit.config.errors import ConfigError
from kit.train.metrics import read_metrics
from kit.train.runs import list_runs, load_manifest

if TYPE_CHECKING:
    from filelock import BaseFileLock

EVERY_SECONDS = 60.0
"""Between two lines in a log."""
LOOK_SECONDS = 1.0
"""Between two looks at the other process's files."""


def workplace_of(folder: Path) -> Path:
    """Where the run that makes `folder` lies while it is made: beside it, so that who waits can find it."""
    return folder.with_name(f".{folder.name}.building")


def wait_for(lock: "BaseFileLock", folder: Path, console: Console) -> None:
    """Take the lock as soon as the process that builds `folder` gives it back; say how far that one is, on a
    terminal each second, in a log once a minute.
    """
    from filelock import Timeout

    told = "another process builds tiny"
    console.print(f"{told}, the embedded base model: waiting for it")
    said = 0.0
    with console.status(told) as status:  # which shows itself on a terminal only
        while True:
            try:
                lock.acquire(timeout=LOOK_SECONDS)
                return
            except Timeout:
                far = how_far(workplace_of(folder))
            if console.is_terminal:
                status.update(f"{told}: {far}")
            elif time.monotonic() - said >= EVERY_SECONDS:
                console.print(f"{told}: {far}", soft_wrap=True)
                said = time.monotonic()


def how_far(workplace: Path) -> str:
    """How far the run in a folder is, in words: its step, and the time left at the pace until now."""
    try:
        run = list_runs(workplace)[-1]
        manifest, lines = load_manifest(run), read_metrics(run)
        spent = (run / "metrics.jsonl").stat().st_mtime - _time(manifest["started"]) if lines else 0.0
    except (IndexError, OSError, ConfigError):  # not there yet, or gone just now
        return "its dialogues and tokenizer are made, or it is moved into place"
    step, steps = lines[-1]["step"] if lines else 0, manifest.get("steps")
    if not (step and steps):  # what happens before the first step is told as of step 0
        return "its first steps are made"
    return f"step {step:,} of {steps:,}, {in_words(spent / step * (steps - step))} left"


def in_words(seconds: float) -> str:
    """A time as a person says it: seconds under a minute and a half, else minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _time(written: str) -> float:
    """Seconds since 1970 of a time as a manifest has it."""
    return datetime.fromisoformat(written).timestamp()
