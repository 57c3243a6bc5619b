"""DeepSpeed's ZeRO under the trainer: a step of several passes, looked at before it is made, kept and read.

Only `kit.train.setup` and `kit.train.disk` import this module: it loads torch, transformers and accelerate.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils.deepspeed import DeepSpeedEngineWrapper
from transformers import TrainerCallback
from transformers.integrations import deepspeed as integration

if TYPE_CHECKING:
    from kit.train.trainer import RunTrainer


class SteppedApart(DeepSpeedEngineWrapper):  # type: ignore[misc]
    """Accelerate's wrapper of the engine, without the optimiser's step in its last backward pass.

    So the trainer's own order holds: gradients, a look at their norm, the step.
    """

    def backward(self, loss: torch.Tensor, sync_gradients: bool = True, **kwargs: Any) -> None:
        """Add the gradient of `loss` to that of the step.

        Args:
            sync_gradients: whether this is the step's last pass, after which processes share it out.
        """
        self.engine.set_gradient_accumulation_boundary(is_boundary=sync_gradients)
        self.engine.backward(loss, **kwargs)

    def get_global_grad_norm(self) -> torch.Tensor:
        """The norm of the step's whole gradient, before it is clipped."""
        return gradient_norm(self.engine.optimizer)


def gradient_norm(optimizer: Any) -> torch.Tensor:
    """The norm of a gradient of which each process holds a part; NaN or infinite where the gradient is.

    DeepSpeed computes it too, but within its step, and says infinite whatever was wrong.

    Args:
        optimizer: ZeRO's of stage 2 or 3, after the last pass of a step.
    """
    parts = [part for group in optimizer.averaged_gradients.values() for part in group or []]
    squares = torch.stack([part.detach().float().square().sum() for part in parts]).sum()
    torch.distributed.all_reduce(squares)
    return squares.sqrt()


class ZeroStep(TrainerCallback):  # type: ignore[misc]
    """Makes the optimiser's step where the trainer makes it, which Accelerate leaves to the engine."""

    def __init__(self, trainer: "RunTrainer") -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the step out of the backward passes, now that there is an engine."""
        self.trainer.accelerator.deepspeed_engine_wrapped = SteppedApart(self.trainer.deepspeed)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The step, after loss and gradient were found to be numbers."""
        self.trainer.deepspeed.step()


@contextmanager
def loaded_whole() -> Iterator[None]:
    """Models are loaded as always, and shared out when training begins.

    transformers would share a model out while it loads it, and then loads none straight to a device; and what
    counts parameters and bytes before the first step would find none.
    """
    reference = integration._hf_deepspeed_config_weak_ref
    integration.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        integration._hf_deepspeed_config_weak_ref = reference


def prepare_process() -> None:
    """Forget that DeepSpeed is on, for the next run of this process; read its checkpoints as weights alone.

    DeepSpeed reads them with pickle, which runs what code somebody put there. torch refuses that where it is
    told to, but for the classes that DeepSpeed writes.
    """
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])
