"""Asks the warm process (see `warm_driver.py`) to run `casekit`."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kit

DRIVER = Path(__file__).with_name("warm_driver.py")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; minus the signal that killed it."""
    said: str
    """What it wrote to both streams, line ends as spaces."""


class Warm:
    """A process that has everything imported, and forks for every command."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(kit.__file__).parents[1]),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        command = [sys.executable, str(DRIVER)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def casekit(self, folder: Path, *words: str, plot: tuple[Any, ...] = ()) -> Ended:
        """Run `casekit` in a folder; `plot` names what happens to it, with its arguments."""
        output = folder.with_name(f"{folder.name}-output.txt")
        asked = {"words": words, "plot": plot, "output": str(output), "folder": str(folder)}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return Ended(code, " ".join(output.read_text().split()))

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)
