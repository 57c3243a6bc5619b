"""What a run needs of the disk, told before its first step; and a full disk told as one while it runs."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import DiskError, Problem
from kit.config.schema import Config
from kit.config.schema_train import Hardware
from kit.models.loading import model_folder
from kit.train.checkpoints import ASIDE
from kit.train.methods import of_reference

if TYPE_CHECKING:
    import torch

    from kit.train.trainer import RunTrainer

MOMENTS = 2
"""Numbers that AdamW keeps of every trained weight, in the weight's own type."""

TENSOR = 330
"""Bytes around a tensor in an optimiser's file: its record in the archive and in the pickle (torch 2.13)."""

HEADER = 110
"""Bytes of a tensor's entry in a safetensors header: name, type, shape, place."""

SMALL = 40_000
"""Bytes of a checkpoint's other files: arguments, schedule, random numbers, settings of model and adapter."""

ZERO_SMALL = 35_000
"""Bytes of a process under ZeRO beside its tensors: random numbers, shapes, DeepSpeed's scripts."""

LINE = 400
"""Bytes that a logged line takes in `metrics.jsonl`, in curves, and in the state of each checkpoint."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No space left, quota used up, file larger than is allowed."""

SAID_FULL = re.compile(
    rf"os error ({'|'.join(str(number) for number in sorted(FULL))})\b"  # safetensors, written in Rust
    r"|No space left|Disk quota exceeded"
    r"|inline_container|iostream error"  # torch.save, which does not say what was wrong with the write
)


def disk_budget(trainer: "RunTrainer", config: Config, steps: int) -> dict[str, int]:
    """The most bytes that a run takes: `checkpoint`, `checkpoints`, `golden`, `logs` and `all` of them.

    A new checkpoint is whole before an old one goes, so there is one more than are kept; golden is replaced
    in the same way, so there are two.

    Args:
        steps: optimiser steps of the whole run.
    """
    settings = trainer.args
    weights, moments = weights_bytes(trainer.model), moments_bytes(trainer.model)
    words = tokenizer_bytes(config)
    lines = steps // settings.logging_steps + steps // max(int(settings.eval_steps or steps), 1) + 2
    golden = weights + words
    if getattr(trainer.model, "initial_adapter", None) is not None:  # PiSSA: see `save_weights`
        golden += weights
    checkpoint = weights + copies_bytes(trainer.model) + moments + words + SMALL + lines * LINE
    checkpoint += zero_bytes(trainer.model, config.hardware)
    saves = -(-steps // int(settings.save_steps)) + 1  # and one more where the run is interrupted
    kept = min(settings.save_total_limit + 1, saves)
    parts = {
        "checkpoint": checkpoint,
        "checkpoints": kept * checkpoint,
        "golden": 2 * golden,
        "logs": 2 * lines * LINE + SMALL,
    }
    return {**parts, "all": parts["checkpoints"] + parts["golden"] + parts["logs"]}


def weights_bytes(model: Any) -> int:
    """Bytes of the weights as they are saved: the adapter alone, or every tensor once where some are tied."""
    adapter = getattr(model, "peft_config", None)
    tensors = trained(model) if adapter else list(model.state_dict().values())
    different = {(tensor.data_ptr(), tensor.numel()): tensor for tensor in tensors}
    return sum(bytes_of(tensor) + HEADER for tensor in different.values())


def copies_bytes(model: Any) -> int:
    """Bytes of the copy of an adapter that preferences are measured against: checkpoints alone hold it."""
    copies = [parameter for name, parameter in model.named_parameters() if of_reference(name)]
    return sum(bytes_of(tensor) + HEADER for tensor in copies)


def moments_bytes(model: Any) -> int:
    """Bytes of AdamW's state: its moments, and a count of steps, for every trained tensor."""
    return sum(MOMENTS * (bytes_of(tensor) + TENSOR) + TENSOR for tensor in trained(model))


def zero_bytes(model: Any, hardware: Hardware) -> int:
    """Bytes that a checkpoint has more under DeepSpeed, 0 without it.

    Its own copy of what is trained; what is frozen, but for an adapter's base; of stage 2 all of this once
    more, and tied weights by each of their names.
    """
    if not hardware.sharding.startswith("zero"):
        return 0
    moved, adapter = sum(bytes_of(tensor) for tensor in trained(model)), getattr(model, "peft_config", None)
    everything = sum(bytes_of(parameter) for parameter in model.parameters())
    frozen = 0 if adapter else everything - moved
    own = ZERO_SMALL * hardware.world_size + moved + frozen
    if hardware.sharding == "zero2":
        named = sum(bytes_of(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
        own += moved + frozen + named - everything
    return own


def trained(model: Any) -> "list[torch.Tensor]":
    """The tensors that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def bytes_of(tensor: "torch.Tensor") -> int:
    """The bytes of a tensor's elements."""
    return tensor.numel() * tensor.element_size()


def tokenizer_bytes(config: Config) -> int:
    """Bytes of the base's tokenizer files, which stand beside all weights that are saved."""
    names = re.compile(r"tokenizer|vocab|merges|special_tokens|added_tokens|chat_template|\.model$")
    files = [path for path in model_folder(config.model).iterdir() if names.search(path.name)]
    return sum(path.stat().st_size for path in files if path.is_file())


def check_space(run: Path, budget: dict[str, int], limit: int) -> None:
    """Refuse a run that would fill the disk. What a resumed run has written already is there already, but
    for damaged checkpoints: they were set aside, and stay.

    Args:
        limit: how many checkpoints are kept.

    Raises:
        DiskError: the free space is less than the budget.
    """
    aside = sum(folder_bytes(folder) for folder in (run / "checkpoints").glob(ASIDE.format("*")))
    needed = budget["all"] - (folder_bytes(run) - aside)
    free = shutil.disk_usage(run).free
    if needed <= free:
        return
    raise DiskError(
        Problem(
            where=str(run),
            message=f"takes up to {in_words(needed)} more of this disk, which has {in_words(free)} free: "
            f"{in_words(budget['checkpoints'])} for checkpoints of {in_words(budget['checkpoint'])} "
            f"({limit} kept, one in writing) and {in_words(budget['golden'])} for golden, old and new",
            hint="free space, lower `train.save_total_limit`, or make `runs/` a link to a larger disk",
        )
    )


def folder_bytes(folder: Path) -> int:
    """The bytes of all files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_words(size: int) -> str:
    """Bytes for people, in units of 1000 as disks are sold by."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


@contextmanager
def full_disk_told(runs: Path) -> Iterator[None]:
    """Tell a full disk as one, whoever met it, and how to go on.

    Args:
        runs: the folder of runs, to name the disk by.

    Raises:
        DiskError: something could not be written for want of space.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise DiskError(
            Problem(
                where=str(runs),
                message=f"the disk is full, or our share of it ({reason(error)}); what was saved stands",
                hint="free space, then `casekit train --resume` goes on from the last whole checkpoint",
            )
        ) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that a disk is full."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in FULL:
            return True
        if SAID_FULL.search(str(found)):
            return True
        found = found.__cause__ or found.__context__
    return False


def reason(error: BaseException) -> str:
    """The error in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
