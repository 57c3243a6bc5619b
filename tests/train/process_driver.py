"""One of several training processes: runs each of the runs it is given. Arguments: a JSON file, a folder.

The file holds a list of `{"name", "prepared", "config"}`; the run of each goes to `<folder>/<name>`. Of a run
with `again` a copy is cut off after that step and resumed, in `<folder>/<name>-again`; of one with `breaks`
the gradient becomes no number at that step, and what came of it is told in `<folder>/<name>.json`.
"""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any


def shard_on_cpu() -> None:
    """Let Accelerate share a model out on CPUs too, as torch and DeepSpeed do: it does it on GPUs only."""
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
    """Keep DeepSpeed from compiling its own way between CPU processes, which takes minutes: gloo is one."""
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


def cut_off(run: Path, copy: Path, step: int) -> Path:
    """A copy of a run as it was when it was killed after the checkpoint of that step."""
    shutil.copytree(run, copy)
    for checkpoint in copy.glob("checkpoints/checkpoint-*"):
        if int(checkpoint.name.rsplit("-", 1)[1]) > step:
            shutil.rmtree(checkpoint)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    return copy


def break_gradient(step: int, passes: int) -> list[Any]:
    """Make gradients NaN from that step on; the model that is trained, once it is loaded, and its weights."""
    import torch

    import kit.train.setup

    load, made = kit.train.setup.load_for_training, []

    def load_breaking(*args: Any) -> Any:
        model = load(*args)
        made[:] = [model, {name: weight.clone() for name, weight in model.state_dict().items()}]
        calls = []

        def broken(gradient: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return gradient * float("nan") if len(calls) > (step - 1) * passes else gradient

        model.get_input_embeddings().weight.register_hook(broken)
        return model

    kit.train.setup.load_for_training = load_breaking
    return made


def train_breaking(run: dict[str, Any], folder: Path) -> None:
    """Train with a gradient that becomes no number; tell what was said, and whether a weight has moved."""
    import torch

    from kit.config.errors import CasekitError
    from kit.config.schema import Config
    from kit.train.processes import is_main
    from kit.train.stages import train

    made = break_gradient(run["breaks"], passes=2)
    try:
        train(Config.model_validate(run["config"]), folder / run["name"], Path(run["prepared"]), None)
    except CasekitError as error:
        now = made[0].state_dict()
        same = all(torch.equal(now[name], weight) for name, weight in made[1].items())
        if is_main():
            (folder / f"{run['name']}.json").write_text(json.dumps({"said": str(error), "same": same}))


def main() -> None:
    import kit.train.setup
    import kit.train.stages
    from kit.config.schema import Config
    from kit.train.processes import same_for_all
    from kit.train.stages import train

    runs, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    shard_on_cpu()
    if any(run["config"]["hardware"]["sharding"].startswith("zero") for run in runs):
        without_compiler()
    watch_mode()
    kit.train.stages.check_sharding = lambda config: None
    kit.train.setup.mixed_precision = lambda on: None  # exact arithmetic, as in the tests beside
    for run in runs:
        os.environ.pop("ACCELERATE_USE_FSDP", None)  # left by a run before, which was shared out so
        if "breaks" in run:
            train_breaking(run, folder)
            continue
        config, prepared = Config.model_validate(run["config"]), Path(run["prepared"])
        done = train(config, folder / run["name"], prepared, None)
        if "again" in run:
            root = folder / f"{run['name']}-again"
            copy = same_for_all(partial(cut_off, done, root / "runs" / done.name, run["again"]))
            train(config, root, prepared, None, copy)


if __name__ == "__main__":
    main()
