"""Passes that several processes make apart from each other, so that none waits in one of them.

Where gradients are exchanged, or figures to log are collected, within a pass, a process whose memory runs out
in it leaves the others waiting for ever. So they meet between passes only: to agree on whether all of them
got through, and, once a step, for the mean of their gradients.

Only `kit.train.guard` and `kit.train.saving` import this module: it loads torch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from kit.train.processes import of_all, world_size

Notes = dict[str, list[float]]
"""What TRL noted of passes since the last log: a name, a figure a pass."""
TOGETHER = 2**24
"""Numbers that are exchanged at once, 64 MiB of float32: an adapter has hundreds of small matrices."""


@contextmanager
def keeping_to_itself(accelerator: Any) -> Iterator[None]:
    """Within, what TRL would collect from all processes, for a figure or an estimate, is this one's own."""

    def own(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor

    names = ("gather", "gather_for_metrics", "reduce")
    for name in names:
        setattr(accelerator, name, own)
    try:
        yield
    finally:
        for name in names:
            delattr(accelerator, name)


def exchange_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Make every gradient the mean of those that the processes have; all of them call this.

    One that not every process has (experts that none of its tokens asked for) counts as zero there.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        return
    there = torch.tensor([one.grad is not None for one in trained], dtype=torch.int, device=trained[0].device)
    torch.distributed.all_reduce(there, torch.distributed.ReduceOp.MAX)
    gradients = []
    for parameter, is_there in zip(trained, there.tolist(), strict=True):
        if is_there:
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = found.contiguous()
            gradients.append(parameter.grad)
    for part in _parts(gradients):
        flat = torch.cat([one.view(-1) for one in part]) if len(part) > 1 else part[0].view(-1)
        torch.distributed.all_reduce(flat)
        flat /= world_size()
        if len(part) > 1:
            means = torch.split(flat, [one.numel() for one in part])
            for one, mean in zip(part, means, strict=True):
                one.copy_(mean.view_as(one))


def _parts(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Gradients of one type in turn, as many together as `TOGETHER` says."""
    part: list[torch.Tensor] = []
    numbers = 0
    for one in gradients:
        if part and (numbers + one.numel() > TOGETHER or one.dtype != part[0].dtype):
            yield part
            part, numbers = [], 0
        part.append(one)
        numbers += one.numel()
    if part:
        yield part


def pooled(notes: Mapping[str, Sequence[float]]) -> Notes:
    """What all processes noted of their passes, for their mean; all of them call this.

    In an order that does not depend on when it is asked for, so that a mean is the same to the last bit in a
    run that was interrupted. TRL's count of tokens is no figure of a pass, and is added up.
    """
    found = of_all({name: list(values) for name, values in notes.items()})
    names = dict.fromkeys(name for one in found for name in one)
    values = {name: [value for one in found for value in one.get(name, [])] for name in names}
    ordered = {name: sorted(values[name], key=lambda value: (math.isnan(value), value)) for name in names}
    return {name: [sum(ordered[name])] if name == "num_tokens" else ordered[name] for name in names}
