"""How `bench/train.py` and the contestants it starts talk: an epoch at a time, when it is their turn.

Every contestant is a process of its own that trains for many epochs and waits for a line before it loads its
model and before each epoch. So all share the same minutes of a busy machine, their peak memory is their own,
and one may live in an environment with other versions. This file imports no more than Python has.
"""

import json
import os
import resource
import sys
import time
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

EPOCHS = 1000
"""More than are ever asked for; the last line ends a contestant before."""


class Turns:
    """A contestant's side: answers with what an epoch took, and ends the process when no more is asked for.

    Args:
        answers: where answers go, which nothing else writes to.
        device: on `cpu` seconds are the processor's, and memory the process's; on `cuda` seconds are the
            wall's, with all kernels done, and memory is what torch's allocator reserved.
    """

    def __init__(self, answers: TextIO, device: str = "cpu") -> None:
        self.answers = answers
        self.device = device
        self.since = self.inside = 0.0
        self.before = self.faults = 0
        self.started = time.perf_counter()
        self.took: dict[str, float] = {}

    def imported(self) -> None:
        """Libraries are loaded: memory counts from here. The model is loaded when it may be."""
        self.before = resident()
        self.took["importing"] = time.perf_counter() - self.started
        self.wait()
        self.started = time.perf_counter()

    def wait(self) -> None:
        """Until a line comes. It says nothing; no line ends the process, whatever its trainer plans."""
        if not sys.stdin.readline():
            self.answers.flush()
            os._exit(0)

    def begin(self) -> None:
        """Wait for the turn to train an epoch."""
        self.took.setdefault("loading", time.perf_counter() - self.started)
        self.wait()
        self.inside = 0.0
        self.faults = page_faults()
        self.since = self.now()

    def end(self) -> None:
        """Tell what the epoch took, and how much of it was not the work that every loop has."""
        spent = self.now() - self.since
        faults = page_faults() - self.faults
        told = {"seconds": spent, "outside": spent - self.inside, "faults": faults}
        told |= self.memory() | self.took
        self.answers.write(json.dumps(told) + "\n")
        self.answers.flush()

    def now(self) -> float:
        """Seconds, see above."""
        if self.device == "cpu":
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def memory(self) -> dict[str, int]:
        """Most bytes so far, and bytes before the model was loaded."""
        if self.device == "cpu":
            return {"peak": resident("VmHWM"), "before": self.before}
        import torch

        most = {"peak": torch.cuda.max_memory_reserved(), "allocated": torch.cuda.max_memory_allocated()}
        return {**most, "before": 0}

    def count(self, owner: Any, name: str) -> None:
        """From here on, time in `owner.name` is work that every loop has."""
        original = getattr(owner, name)

        @wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.inside += time.process_time() - began

        setattr(owner, name, counted)


def count_work(turns: Turns) -> None:
    """Forward and backward pass, clipping and the optimiser's step are work; what is left is the loop's."""
    import torch
    from transformers import Qwen2ForCausalLM, Qwen3ForCausalLM

    turns.count(Qwen2ForCausalLM, "forward")
    turns.count(Qwen3ForCausalLM, "forward")
    turns.count(torch.Tensor, "backward")
    turns.count(torch.nn.utils, "clip_grad_norm_")
    turns.count(torch.optim.AdamW, "step")


def resident(field: str = "VmRSS") -> int:
    """Bytes of this process in memory; `VmHWM` is the most there ever were. 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def page_faults() -> int:
    """How often this process was given memory anew, page by page."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def take_turns(device: str = "cpu") -> Turns:
    """Keep standard output for answers; what libraries print goes where errors go."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Turns(answers, device)


def into_trainers(turns: Turns) -> None:
    """Have every trainer of transformers made from here on take its epochs by turns."""
    from transformers import TrainerCallback, trainer

    class ByTurns(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            turns.begin()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            turns.end()

    trainer.DEFAULT_CALLBACKS.append(ByTurns)
