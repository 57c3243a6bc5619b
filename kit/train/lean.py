"""What transformers' trainer does in every pass for nobody: left out, because with adapters it takes long.

Only `kit.train.trainer` and the trainers beside it import this module: it loads torch and transformers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import Trainer


class LeanTrainer(Trainer):  # type: ignore[misc]
    """Stands between a trainer of ours and that of TRL, and spares it two walks through the whole model.

    Each takes longer the more modules there are: 5 ms a pass with LoRA in 28 layers, of a processor that
    should be launching a GPU's kernels. `bench/train.py` measures what is left.
    """

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, from the first step with every module in training mode.

        A loaded model comes in evaluation mode, an adapter around it does not: the whole would look as if it
        were in training mode, and recompute nothing until the first validation.
        """
        self.model.train()
        return super().train(*args, **kwargs)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward pass of a model that is put into training mode once, not with every pass."""
        with training_mode(model):
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """None are counted: the number would be `total_flos` of a checkpoint's state, which nothing reads."""
        return 0


@contextmanager
def training_mode(model: torch.nn.Module) -> Iterator[None]:
    """The model in training mode; within, asking for the mode that it is in walks through nothing.

    Its mode is that of the module within, where it is wrapped for several processes: validation puts that one
    alone into evaluation mode, and the wrapper would go on saying that it trains.
    """
    inner = getattr(model, "module", model)
    if not inner.training:
        model.train()
    original = model.train

    def train(mode: bool = True) -> torch.nn.Module:
        return model if mode == inner.training else original(mode)

    model.train = train  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.train
