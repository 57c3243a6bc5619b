"""Trains a few steps with `hardware.sharding` over one GPU, as one of one processes. Arguments: base, folder.

The settings refuse that, for there is nothing to share out; but it goes through the same wrapping, gathering
and saving as on two GPUs. Prints a JSON object: by way of sharding the losses, or why it is refused.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from train_world import losses_of, write_prepared

from kit.config.errors import CasekitError
from kit.config.schema import Config
from kit.models.loading import load_tuned
from kit.train.stages import train


def settings(base: Path, method: str, sharding: str) -> Config:
    """Four steps with weights in float32; `lora` in packed rows."""
    short = {"global_batch_size": 8, "per_device_train_batch_size": 4, "logging_steps": 1, "max_steps": 4}
    return Config.model_validate(
        {
            "model": {"name": str(base), "max_length": 256, "dtype": "float32"},
            "method": {"name": method},
            "train": {
                "learning_rate": 3e-3,
                "eval_steps": 2,
                "save_steps": 2,
                "packing": method == "lora",
                **short,
            },
            "hardware": {"num_threads": 1, "sharding": sharding},
            "tracking": {"report_to": []},
        }
    )


def gather_again_as_torch_2_13_does() -> None:
    """Let FSDP2 gather weights again that a pass before left gathered in part, where torch is too old to.

    TRL's loss takes the weights of the model's head and does not run it. So the head, and the embedding that
    shares its weights, never end a pass that has no gradient, and torch 2.11 does not gather them for the
    next: "mixed torch.Tensor and DTensor". The kit asks for 2.13; machines with GPUs may have less.
    """
    from torch.distributed.fsdp._fully_shard._fsdp_state import FSDPState

    if hasattr(FSDPState, "_force_complete_incomplete_states"):  # came with the mend
        return
    original = FSDPState._root_pre_forward

    def root_pre_forward(self: Any, *args: Any) -> Any:
        if self._state_ctx.iter_forward_root is None:
            for state in self._state_ctx.all_states:
                state._modules_to_run_forward.clear()
        return original(self, *args)

    FSDPState._root_pre_forward = root_pre_forward


def main() -> None:
    """Train every way, and say what came of it: `full` in float32, `lora` as the GPU would."""
    import kit.train.setup

    usual = kit.train.setup.mixed_precision
    gather_again_as_torch_2_13_does()
    base, folder = Path(sys.argv[1]), Path(sys.argv[2])
    prepared = write_prepared(folder / "prepared", train=32, valid=8)
    found: dict[str, Any] = {}
    for method, sharding in (
        ("full", "none"),
        ("full", "fsdp"),
        ("lora", "none"),
        ("lora", "fsdp"),
        ("full", "zero2"),
    ):
        for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
            del os.environ[name]  # left by the run before
        kit.train.setup.mixed_precision = usual if method == "lora" else lambda on: None
        config, name = settings(base, method, sharding), f"{method}-{sharding}"
        try:
            run = train(config, folder / name, prepared, None)
        except CasekitError as error:
            found[name] = f"{int(error.exit_code)} {error}"
        else:
            load_tuned(run / "golden", config)
            found[name] = losses_of(run)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
