"""One of several training processes: runs each of the runs it is given. Arguments: a JSON file, a folder.

The file holds a list of `{"name", "prepared", "config"}`; the run of each goes to `<folder>/<name>`. With
`holds` the model of the second process refuses passes, as a GPU would that has no more memory: those of more
`rows` or `tokens`, or the one with that `number`. With `stop` somebody presses Ctrl-C at that validation, and
with `resume` the run goes on then. What a run ends with otherwise is left beside it.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from train_rewards import FIRST_HALF


def shard_on_cpu() -> None:
    """Let Accelerate share a model out on CPUs too: torch does, Accelerate does it on GPUs only."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    original = AcceleratorState.__init__

    def init(self: AcceleratorState, *args: object, fsdp_plugin: object = None, **kwargs: object) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = init


def watch_mode() -> None:
    """Hold every pass of the trainer's own loss to the mode that it asks for, after a validation too."""
    from transformers import Trainer

    original = Trainer.compute_loss

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inner = getattr(model, "module", model)
        wanted = num_items_in_batch is not None
        off = [name for name, part in inner.named_modules() if part.training != wanted]
        assert not off, (self.state.global_step, off)
        return original(self, model, inputs, return_outputs, num_items_in_batch)

    Trainer.compute_loss = compute_loss


def hold_in_second(holds: dict[str, int]) -> Callable[[], None]:
    """Let the model of the second process refuse passes; what this gives lets it take them all again."""
    from transformers import Qwen3Model

    original, done = Qwen3Model.forward, []

    def forward(self: Any, input_ids: Any = None, **kwargs: Any) -> Any:
        done.append(1)
        too_large = len(input_ids) > holds.get("rows", sys.maxsize)
        too_large |= input_ids.numel() > holds.get("tokens", sys.maxsize)
        if too_large or len(done) == holds.get("number"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(self, input_ids=input_ids, **kwargs)

    if holds and os.environ["RANK"] == "1":
        Qwen3Model.forward = forward
    return lambda: setattr(Qwen3Model, "forward", original)


class InterruptAt:
    """A task score that presses Ctrl-C in one of the processes while it is asked for the n-th time."""

    def __init__(self, evaluation: int) -> None:
        self.left = evaluation

    def __call__(self, model: object, tokenizer: object) -> float:
        self.left -= 1
        if self.left == 0 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5


def main() -> None:
    import kit.train.setup
    import kit.train.stages
    from kit.config.errors import CasekitError
    from kit.config.schema import Config
    from kit.train.stages import train

    shard_on_cpu()
    watch_mode()
    kit.train.stages.check_sharding = lambda config: None
    kit.train.setup.mixed_precision = lambda on: None  # exact arithmetic, as in the tests beside
    for run in json.loads(Path(sys.argv[1]).read_text()):
        config, folder = Config.model_validate(run["config"]), Path(sys.argv[2]) / run["name"]
        restore = hold_in_second(run.get("holds", {}))
        rewards = [FIRST_HALF] if config.train.stage == "grpo" else []
        score = InterruptAt(run["stop"]) if run.get("stop") else None
        training = partial(train, config, folder, Path(run["prepared"]), score, rewards=rewards)
        try:
            training()
        except KeyboardInterrupt:
            if run["resume"]:
                training(resume=next((folder / "runs").iterdir()))
        except CasekitError as error:  # met by all: none of them is left in the run
            (folder / f"ended-{os.environ['RANK']}").write_text(f"{error.exit_code} {error}")
        restore()


if __name__ == "__main__":
    main()
