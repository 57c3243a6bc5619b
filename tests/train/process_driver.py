"""One of several training processes: runs each of the runs it is given. Arguments: a JSON file, a folder.

The file holds a list of `{"name", "prepared", "config"}`; the run of each goes to `<folder>/<name>`.
"""

import json
import sys
from pathlib import Path
from typing import Any


def shard_on_cpu() -> None:
    """Let Accelerate share a model out on CPUs too: torch and DeepSpeed do, Accelerate does it on GPUs only."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    original = AcceleratorState.__init__

    def init(
        self: Any, *args: object, fsdp_plugin: Any = None, deepspeed_plugin: Any = None, **kwargs: object
    ) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        elif deepspeed_plugin is not None:
            self.distributed_type, self.deepspeed_plugins = DistributedType.DEEPSPEED, deepspeed_plugin
            deepspeed_plugin.set_mixed_precision("no")
            deepspeed_plugin.select(_from_accelerator_state=True)
        else:
            return
        PartialState._shared_state["distributed_type"] = self.distributed_type

    AcceleratorState.__init__ = init


def without_compiler() -> None:
    """Keep DeepSpeed from compiling a way to talk between CPU processes, which takes a minute: gloo does it."""
    from importlib import import_module

    import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # its package calls torch by that name


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


def make_ready(runs: list[dict[str, Any]]) -> None:
    """Let these runs shard on CPUs, compute exactly, and be held to the mode that they ask for."""
    import kit.train.setup
    import kit.train.stages

    shard_on_cpu()
    if any(run["config"]["hardware"]["sharding"].startswith("zero") for run in runs):
        without_compiler()
    watch_mode()
    kit.train.stages.check_sharding = lambda config: None
    kit.train.setup.mixed_precision = lambda on: None  # exact arithmetic, as in the tests beside


def main() -> None:
    from kit.config.schema import Config
    from kit.train.stages import train

    runs = json.loads(Path(sys.argv[1]).read_text())
    make_ready(runs)
    for run in runs:
        config = Config.model_validate(run["config"])
        train(config, Path(sys.argv[2]) / run["name"], Path(run["prepared"]), None)


if __name__ == "__main__":
    main()
