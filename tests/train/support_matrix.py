"""What the support matrix is made of: stages, methods and their variants, and how one of them is trained.

A new stage is one line of `STAGES`. `make support` runs the tests of it and keeps what they found.
"""

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from train_world import losses_of, write_labelled, write_preferences, write_prepared

from kit.config.methods import method_names
from kit.config.schema import Config
from kit.config.support import Chosen, Refusal, refused
from kit.train.stages import train

STAGES: dict[str, Callable[[Path, int, int], Path]] = {
    "pretrain": write_prepared,
    "sft": write_prepared,
    "dpo": write_preferences,
    "kto": write_labelled,
    "orpo": write_preferences,
}
"""Stage -> what writes the prepared data that it learns from."""

VARIANTS: dict[str, dict[str, Any]] = {
    "lora, use_rslora": {"name": "lora", "use_rslora": True},
    "lora, use_dora": {"name": "lora", "use_dora": True},
    "lora, loraplus_lr_ratio": {"name": "lora", "loraplus_lr_ratio": 4.0},
    "lora, pissa": {"name": "lora", "init_lora_weights": "pissa"},
    "lora, pissa_niter_16": {"name": "lora", "init_lora_weights": "pissa_niter_16"},
    "lora, loftq": {"name": "lora", "init_lora_weights": "loftq"},
    "lora, pissa, use_dora": {"name": "lora", "init_lora_weights": "pissa", "use_dora": True},
    "qlora, use_dora": {"name": "qlora", "use_dora": True},
    "qlora, pissa": {"name": "qlora", "init_lora_weights": "pissa"},
    "qlora, loftq": {"name": "qlora", "init_lora_weights": "loftq"},
}
"""What is more than a method's name."""

METHODS: dict[str, dict[str, Any]] = {**{name: {"name": name} for name in method_names()}, **VARIANTS}

OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "packing": {"packing": True},
    "gradient_checkpointing": {"gradient_checkpointing": True},
}
"""Settings of `train` that a method may not bear; tried with sft."""

RATES = {"full": 3e-3, "freeze": 3e-3, "prefix": 5e-2, "prompt": 5e-2, "ia3": 5e-2}
STEPS = 5


def combinations() -> Iterator[tuple[str, str, str]]:
    """Every stage, method and option that the matrix speaks of."""
    for method in METHODS:
        for stage in STAGES:
            yield stage, method, ""
        for option in OPTIONS:
            if option:
                yield "sft", method, option


def settings_of(stage: str, method: str, option: str, base: Path) -> dict[str, Any]:
    """The settings of a few steps on the same eight rows."""
    own = METHODS[method]
    return {
        "model": {"name": str(base), "max_length": 256},
        "method": own if own["name"] not in ("prefix", "prompt") else {**own, "num_virtual_tokens": 4},
        "train": {
            "stage": stage,
            "learning_rate": RATES.get(own["name"], 1e-2),
            "lr_scheduler_type": "constant",
            "num_train_epochs": STEPS,
            "global_batch_size": 8,
            "per_device_train_batch_size": 8,
            "logging_steps": 1,
            "eval_steps": 100,
            "save_steps": 100,
            **OPTIONS[option],
        },
        "hardware": {"num_threads": 1},
        "tracking": {"report_to": []},
    }


def refusals(settings: dict[str, Any]) -> list[Refusal]:
    """Those of the table that hold for these settings."""
    config = Config.model_validate(settings)
    return refused(Chosen(config.method, config.train))


def trained(config: Config, root: Path, prepared: Path) -> dict[str, Any]:
    """Train as `config` says, and what became of the loss."""
    run = train(config, root, prepared, task_score=None)
    losses = losses_of(run)
    manifest = json.loads((run / "manifest.json").read_text())
    return {
        "run": run,
        "losses": losses,
        "trainable": manifest["trainable_parameters"] / manifest["total_parameters"],
    }


def versions() -> dict[str, str]:
    """What the matrix was made with."""
    return {
        name: version(name)
        for name in ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
    }
