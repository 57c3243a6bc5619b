"""Memory of the device at work: how much of it is taken, and whether an error says that it ran out."""

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil

if TYPE_CHECKING:
    import torch

Made = TypeVar("Made")

GIB = 2**30
ALARM = 0.8
"""The field's rule: aim at 0.7 to 0.8 of the memory; above it, fragments and a longer row run out of it."""

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Linux' control groups, version 2, then 1: the folder; a container's limit and what it uses of it, in bytes;
and which line of `memory.stat` says how much of that are files it would drop at need (as docker counts)."""


@dataclass(frozen=True)
class Memory:
    """What this process has taken, and what it could take at most, in bytes."""

    used: int
    capacity: int

    @property
    def share(self) -> float:
        """The part that is taken, 0 to 1."""
        return self.used / self.capacity


def memory_now(on: "torch.device") -> Memory:
    """The memory of the device as it is now.

    On a GPU: what torch has reserved of all there is, which is what counts when the next row is longer. On a
    CPU: what of the process lies in memory, of that and what the machine (or the container) has left.
    """
    if on.type == "cuda":
        import torch

        return Memory(torch.cuda.memory_reserved(on), torch.cuda.get_device_properties(on).total_memory)
    used = psutil.Process().memory_info().rss
    free = psutil.virtual_memory().available
    left = _left_in_container()
    return Memory(used, used + (free if left is None else min(free, left)))


def _left_in_container() -> int | None:
    """Bytes that a container may still take; None where nothing limits it."""
    for folder, limit, used, droppable in _CGROUPS:
        try:
            most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
            lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            files = sum(int(count) for name, count in lines if name == droppable)
        except (OSError, ValueError):  # no such file; or `max`, no limit
            continue
        return max(most - taken + files, 0)
    return None


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's malloc.h."""
_LARGEST_KEPT = 32 * 2**20
"""Bytes; the most that glibc takes for the latter (mallopt(3)). Larger blocks go back to the system."""


def keep_freed_memory() -> bool:
    """Have this process keep what its tensors give back, for the next ones.

    Left to itself, glibc hands large blocks back to the system, which every pass then takes anew, page by
    page: measured, up to a fifth of a training step on a CPU. The most that is taken does not grow by it.

    Returns:
        False where the C library is another one; nothing is changed there.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    kept = library.mallopt(_TRIM_THRESHOLD, 2**31 - 1) and library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    return bool(kept)


_WANT = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""How errors begin or end that say so without torch's own kind: of a CPU, of CUDA, of cuBLAS and cuDNN."""


def ran_out(error: BaseException) -> bool:
    """Whether it is for want of memory, by whichever library missed it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WANT)
    )


def within_memory(work: Callable[[], Made]) -> Made | None:
    """What `work` makes; None where memory ran out. What was taken is free again then."""
    try:
        return work()
    except RuntimeError as error:
        if not ran_out(error):
            raise
    import torch

    # Outside the handler, whose traceback holds every tensor of the failed pass.
    gc.collect()
    torch.cuda.empty_cache()
    return None
