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
    """Four steps in float32."""
    short = {"global_batch_size": 8, "per_device_train_batch_size": 4, "logging_steps": 1, "max_steps": 4}
    return Config.model_validate(
        {
            "model": {"name": str(base), "max_length": 256, "dtype": "float32"},
            "method": {"name": method},
            "train": {"learning_rate": 3e-3, "eval_steps": 2, "save_steps": 2, **short},
            "hardware": {"num_threads": 1, "sharding": sharding},
            "tracking": {"report_to": []},
        }
    )


def main() -> None:
    """Train every way, and say what came of it."""
    import kit.train.setup

    kit.train.setup.mixed_precision = lambda on: None
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
