"""Memory that is limited: a GPU's really, a CPU's by a model that refuses larger passes."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import torch
from transformers import Qwen3Model


@dataclass(frozen=True)
class Peak:
    """The most that was taken, in bytes: by tensors, and by torch for them, with gaps between."""

    allocated: float
    reserved: float


class AnyMemory(Protocol):
    """What the tests need of a memory."""

    def peak(self, work: Callable[[], object]) -> Peak:
        """What some work takes at most."""

    def limit(self, size: float) -> None:
        """Let there be so many bytes from here on."""

    def lift(self) -> None:
        """Let there be all of it again."""


class CudaMemory:
    """The GPU's."""

    def peak(self, work: Callable[[], object]) -> Peak:
        _collect()
        torch.cuda.reset_peak_memory_stats()
        work()
        return Peak(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())

    def limit(self, size: float) -> None:
        _collect()
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(size / whole, 0)

    def lift(self) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
        _collect()


def _collect() -> None:
    gc.collect()
    torch.cuda.empty_cache()


class PretendedMemory:
    """One of a CPU, in which every row of a pass takes a byte."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most, self.size = 0, float("inf")
        original = Qwen3Model.forward

        def forward(model: Any, input_ids: Any = None, **kwargs: Any) -> Any:
            self.most = max(self.most, len(input_ids))
            if len(input_ids) > self.size:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return original(model, input_ids=input_ids, **kwargs)

        monkeypatch.setattr(Qwen3Model, "forward", forward)

    def peak(self, work: Callable[[], object]) -> Peak:
        self.most = 0
        work()
        return Peak(self.most, self.most)

    def limit(self, size: float) -> None:
        self.size = size

    def lift(self) -> None:
        self.size = float("inf")
