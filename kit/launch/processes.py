"""Training in several processes on this machine, and on others that are given the same command.

torch's own launcher (what `torchrun` and `accelerate launch` call) starts the processes, watches them and
hands on signals; Accelerate, under the trainer, makes one training of them. A process that torchrun,
`accelerate launch` or Slurm has started already is not launched again: it trains as one of them.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kit.config.errors import CasekitError, ExitCode, Problem, Terminated
from kit.config.schema_train import Hardware
from kit.train.processes import RUN_FILE

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

SECONDS_TO_SAVE = 600
"""How long processes that were asked to stop may take to save, before they are killed."""


def needs_launch(hardware: Hardware) -> bool:
    """Whether several processes are asked for and this one is none of them yet."""
    return hardware.world_size > 1 and "WORLD_SIZE" not in os.environ


def launch_training(hardware: Hardware, words: Sequence[str]) -> Path:
    """Train by `python -m kit train <words>` in `hardware.num_processes` processes; the run's folder.

    The first process speaks; what the others say is shown only where one of them fails.

    Raises:
        KeyboardInterrupt, Terminated: the processes were asked to stop, and have saved.
        SystemExit: training ended otherwise than well, with the exit code of the process that failed
            first, which has said why; 128 and the signal's number where it was killed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="casekit-") as folder:
        run_file = Path(folder) / "run"
        os.environ[RUN_FILE] = str(run_file)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_each(hardware)))
        try:
            elastic_launch(launch_settings(hardware, folder), sys.executable)("-m", "kit", "train", *words)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            main = error.failures.get(0)
            if rank != 0 and not (main and main.exitcode > 0):  # else the main one has said it
                _show(rank, failure.local_rank, Path(folder))
            if failure.exitcode < 0:
                _say_killed(rank, -failure.exitcode)
            _end_as(failure.exitcode)
        except SignalException as stopped:
            _end_as(-int(stopped.sigval))
        finally:
            del os.environ[RUN_FILE]
        return Path(run_file.read_text(encoding="utf-8"))


def threads_each(hardware: Hardware) -> int:
    """CPU threads of one of the processes: its share of the cores."""
    return hardware.num_threads or max(1, (os.cpu_count() or 1) // hardware.num_processes)


def launch_settings(hardware: Hardware, folder: str) -> "LaunchConfig":
    """`hardware` in the words of torch's launcher.

    Args:
        folder: where the output of all but the first process goes.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    silent = range(0 if hardware.machine_rank else 1, hardware.num_processes)
    alone = hardware.num_machines == 1
    meeting: dict[str, Any] = (
        {"rdzv_backend": "c10d", "rdzv_endpoint": "127.0.0.1:0"}
        if alone
        else {
            "rdzv_backend": "static",
            "rdzv_endpoint": hardware.main_address,
            "rdzv_configs": {"rank": hardware.machine_rank},
        }
    )
    return LaunchConfig(
        min_nodes=hardware.num_machines,
        max_nodes=hardware.num_machines,
        nproc_per_node=hardware.num_processes,
        run_id="casekit",
        max_restarts=0,  # a run goes on by `--resume`, which also works after the machine is gone
        shutdown_timeout=SECONDS_TO_SAVE,
        local_addr="127.0.0.1" if alone else None,
        logs_specs=DefaultLogsSpecs(log_dir=folder, redirects=dict.fromkeys(silent, Std.ALL)),
        **meeting,
    )


def _end_as(code: int) -> NoReturn:
    """End as a training process did, or as the signal says (a negative number) that they were stopped by."""
    if code in (ExitCode.RESUME_ME, -signal.SIGTERM):
        raise Terminated
    if code in (ExitCode.INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    raise SystemExit(code if code > 0 else 128 - code)


def _show(rank: int, local_rank: int, folder: Path) -> None:
    """Hand on what a silent process said last."""
    for file in sorted(folder.rglob(f"{local_rank}/stderr.log")):
        text = file.read_text(encoding="utf-8", errors="replace").strip()
        print(f"process {rank}:\n{text[-4000:]}", file=sys.stderr)


def _say_killed(rank: int, number: int) -> None:
    name = signal.Signals(number).name
    hint = "its memory may have run out" if number == signal.SIGKILL else "it crashed"
    problem = Problem(f"process {rank}", f"was ended by {name}", f"{hint}; `casekit train --resume` goes on")
    print(f"error {CasekitError(problem)}", file=sys.stderr)
