"""Runs that must be processes of their own. They begin when the tests do; importing torch takes long."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import kit

HERE = Path(__file__).parent
KILLED = ("method.dropout=0.1", "train.early_stopping_patience=99")
"""Of the run that is killed; with dropout, so that random numbers count."""


@dataclass(frozen=True)
class Killed:
    """A run that was killed, and how its commands ended.

    Attributes:
        codes: of the command that was killed and of `--resume`.
        sessions: the steps that they began at.
        said: what they wrote.
    """

    run: Path
    codes: tuple[int, int]
    sessions: list[int]
    said: str


def process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python process to its end, with the kit that is tested here."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(kit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        **variables,
    }
    return subprocess.run(
        [sys.executable, *words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        timeout=200,
    )


KILL = """
import sys
sys.path.insert(0, sys.argv[1])
from warm_driver import kill
kill("step", 4)
sys.argv = ["casekit", *sys.argv[2:]]
from kit.cli import main
main()
"""


def kill_and_resume(pristine: Path, folder: Path) -> Killed:
    """`casekit train --processes 1`, SIGKILL as its fourth step begins, then `casekit train --resume`."""
    project = shutil.copytree(pristine, folder / "project")
    words = ["train", *KILLED, "--processes", "1", "-p", str(project)]
    first = process("-c", KILL, str(HERE.parent / "train"), *words)
    second = process("-m", "kit", *words, "--resume")
    (run,) = (path.parent for path in project.glob("runs/*/manifest.json"))
    sessions = json.loads((run / "manifest.json").read_text())["sessions"]
    steps = [session["from_step"] for session in sessions]
    return Killed(run, (first.returncode, second.returncode), steps, first.stdout + second.stdout)


def shard_out(base: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Train with FSDP over the one GPU there is; see `sharded_driver.py`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return process(str(HERE / "sharded_driver.py"), str(base), str(folder), **alone, **meet)
