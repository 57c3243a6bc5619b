"""One of several training processes: which it is, and how all of them come to the same decision.

Whoever started them (`kit.launch`, torchrun, `accelerate launch`, Slurm) set RANK, WORLD_SIZE and
LOCAL_RANK; Accelerate reads these. The main process, rank 0, alone writes to the run's folder.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kit.config.errors import ConfigError, Problem
from kit.config.schema_train import Hardware

T = TypeVar("T")
RUN_FILE = "CASEKIT_RUN_FILE"
"""Environment variable: the file in which training processes leave the folder of their run."""


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """The number of this process among them, counted from 0."""
    return int(os.environ.get("RANK") or 0)


def is_main() -> bool:
    """Whether this is the process that writes the run and speaks."""
    return rank() == 0


def join_processes(hardware: Hardware) -> None:
    """Meet the other processes, where there are any.

    Raises:
        ConfigError: a launcher started another number of them than `hardware` says, from which the batch
            of each follows.
    """
    count = world_size()
    if count != hardware.world_size:
        asked = f"hardware.num_processes={hardware.num_processes}"
        if hardware.num_machines > 1:
            asked += f" hardware.num_machines={hardware.num_machines}"
        raise ConfigError(
            Problem(
                where="WORLD_SIZE",
                message=f"a launcher started {count} processes, and the settings say {hardware.world_size}",
                hint=f"give both the same, such as `hardware.num_processes={count}` (now {asked}); or let "
                "`casekit train --processes` start them",
            )
        )
    if count > 1:
        from accelerate import PartialState

        from kit.models.loading import device

        on_cpu = device(hardware).type == "cpu"
        PartialState(cpu=on_cpu, **({"backend": "gloo"} if on_cpu else {}))


def same_for_all(make: Callable[[], T]) -> T:
    """What `make` gives in the main process, handed to all; the others wait for it and do not call it."""
    if world_size() == 1:
        return make()
    from accelerate.utils import broadcast_object_list

    made = [make() if is_main() else None]
    (value,) = broadcast_object_list(made)
    return value  # type: ignore[no-any-return]


def of_all(value: T) -> list[T]:
    """The value of every process, in their order; each of them has to ask."""
    if world_size() == 1:
        return [value]
    from accelerate.utils import gather_object

    found: list[T] = gather_object([value])
    return found


def highest(number: int) -> int:
    """The highest `number` of all processes; each of them has to ask."""
    if world_size() == 1:
        return number
    import torch
    from accelerate import PartialState

    shared = torch.tensor(number, device=PartialState().device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return int(shared)


def tell_launcher(run: Path) -> None:
    """Leave the run's folder where the launcher of this machine looks for it, if there is one."""
    if was_launched() and os.environ.get("LOCAL_RANK") == "0":
        Path(os.environ[RUN_FILE]).write_text(str(run), encoding="utf-8")


def was_launched() -> bool:
    """Whether `kit.launch` started this process, and says itself how it ended."""
    return RUN_FILE in os.environ
