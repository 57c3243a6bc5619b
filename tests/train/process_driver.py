"""One of several training processes: runs each of the runs it is given. Arguments: a JSON file, a folder.

The file holds a list of `{"name", "prepared", "config"}`; the run of each goes to `<folder>/<name>`. With
`holds` the model of the second process refuses passes, as a GPU would that has no more memory: those of more
`rows` or `tokens`, or the one with that `number`. With `stop` somebody presses Ctrl-C at that validation, and
with `resume` the run goes on then. With `again` a copy is cut off after that step, and goes on in
`<folder>/<name>-again`. With `breaks` the gradient becomes no number at that step. With `gpu_loss`, and
where the model is shared out, it learns by the loss that GPUs take. What a run ends with otherwise is left
beside it.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from train_rewards import FIRST_HALF


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
    """Hold every pass of the model's own loss and of TRL's to the mode that it asks for, after a validation
    too."""
    from transformers import Trainer
    from trl import SFTTrainer

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def compute_loss(
            self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            inner = getattr(model, "module", model)
            wanted = num_items_in_batch is not None
            off = [name for name, part in inner.named_modules() if part.training != wanted]
            assert not off, (self.state.global_step, off)
            return original(self, model, inputs, return_outputs, num_items_in_batch)

        return compute_loss

    for trainer in (Trainer, SFTTrainer):
        trainer.compute_loss = watched(trainer.compute_loss)


def loss_of_a_gpu(wanted: bool) -> None:
    """Have the model learn by the loss that GPUs take, or by its own again, as CPUs do.

    A GPU's is TRL's, which reads the weights of the model's head and does not run it. What shares a model
    out has to bear that: FSDP2 gathers the head together with other parts, and in torch 2.11 it waits for
    all of them to run before it gathers them again.
    """
    from kit.train.trainer import CausalTrainer

    if wanted:
        CausalTrainer.own_loss = property(lambda trainer: False, lambda trainer, value: None)
    elif "own_loss" in vars(CausalTrainer):
        del CausalTrainer.own_loss


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


def cut_off(run: Path, copy: Path, step: int) -> Path:
    """A copy of a run as it was when it was killed after the checkpoint of that step."""
    shutil.copytree(run, copy)
    for checkpoint in copy.glob("checkpoints/checkpoint-*"):
        if int(checkpoint.name.rsplit("-", 1)[1]) > step:
            shutil.rmtree(checkpoint)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    return copy


def break_gradient(step: int, passes: int) -> Callable[[], bool]:
    """Make gradients NaN from that step on; what this gives says whether all weights are where they were."""
    import kit.train.setup

    load, made, calls = kit.train.setup.load_for_training, [], []

    def broken(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * float("nan") if len(calls) > (step - 1) * passes else gradient

    def load_breaking(*args: Any) -> Any:
        model = load(*args)
        made.extend([model, {name: weight.clone() for name, weight in model.state_dict().items()}])
        model.get_input_embeddings().weight.register_hook(broken)
        return model

    def unmoved() -> bool:
        kit.train.setup.load_for_training = load
        return all(torch.equal(weight, made[1][name]) for name, weight in made[0].state_dict().items())

    kit.train.setup.load_for_training = load_breaking
    return unmoved


def main() -> None:
    import kit.train.setup
    import kit.train.stages
    from kit.config.errors import CasekitError
    from kit.config.schema import Config
    from kit.train.processes import same_for_all
    from kit.train.stages import train

    runs = json.loads(Path(sys.argv[1]).read_text())
    shard_on_cpu()
    if any(run["config"]["hardware"]["sharding"].startswith("zero") for run in runs):
        without_compiler()
    watch_mode()
    kit.train.stages.check_sharding = lambda config: None
    kit.train.setup.mixed_precision = lambda on: None  # exact arithmetic, as in the tests beside
    for run in runs:
        os.environ.pop("ACCELERATE_USE_FSDP", None)  # left by a run before, which was shared out so
        config, folder = Config.model_validate(run["config"]), Path(sys.argv[2]) / run["name"]
        loss_of_a_gpu(run.get("gpu_loss", config.hardware.sharding != "none"))
        restore = hold_in_second(run.get("holds", {}))
        unmoved = break_gradient(run["breaks"], passes=2) if "breaks" in run else None
        rewards = [FIRST_HALF] if config.train.stage == "grpo" else []
        score = InterruptAt(run["stop"]) if run.get("stop") else None
        training = partial(train, config, folder, Path(run["prepared"]), score, rewards=rewards)
        try:
            done = training()
            if "again" in run:
                root = folder.with_name(f"{run['name']}-again")
                copy = same_for_all(partial(cut_off, done, root / "runs" / done.name, run["again"]))
                train(config, root, Path(run["prepared"]), None, copy)
        except KeyboardInterrupt:
            if run["resume"]:
                training(resume=next((folder / "runs").iterdir()))
        except CasekitError as error:  # met by all: none of them is left in the run
            still = " and no weight has moved" if unmoved and unmoved() else ""
            (folder / f"ended-{os.environ['RANK']}").write_text(f"{error.exit_code} {error}{still}")
        restore()


if __name__ == "__main__":
    main()
