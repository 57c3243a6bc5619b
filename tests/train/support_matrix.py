"""What the support matrix is made of: stages, methods and their variants, and how one of them is trained.

A new stage is one line of `STAGES`. `make support` runs the tests of it and keeps what they found.
"""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from train_rewards import write_rewarded
from train_world import write_labelled, write_preferences, write_prepared

from kit.config.methods import method_names
from kit.config.schema import Config
from kit.config.support import Chosen, Refusal, refused

STAGES: dict[str, Callable[[Path, int, int], Path]] = {
    "pretrain": write_prepared,
    "sft": write_prepared,
    "reward": write_preferences,
    "dpo": write_preferences,
    "kto": write_labelled,
    "orpo": write_preferences,
    "grpo": write_rewarded,
}
"""Stage -> what writes the prepared data that it learns from."""

VARIANTS: dict[str, dict[str, Any]] = {
    "lora, use_rslora": {"name": "lora", "use_rslora": True},
    "lora, use_dora": {"name": "lora", "use_dora": True},
    "lora, loraplus_lr_ratio": {"name": "lora", "loraplus_lr_ratio": 2.0},
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

SHARDINGS = ("fsdp", "zero2", "zero3")
OPTIONS = ("packing", "gradient_checkpointing", *SHARDINGS)
"""Settings of `train`, or values of `hardware.sharding`, that a method may not bear; tried with sft, and the
latter with every stage that they are refused for."""
SHARDED = ("lora, use_rslora", "lora, use_dora", "lora, loraplus_lr_ratio", "lora, pissa")
"""Variants that are tried shared out over two processes as well."""

REWARDED = {"num_generations": 4, "max_completion_length": 8, "beta": 0.05}
"""Of grpo: with a reference, as the other stages that compare answers."""

RATES = {"full": 3e-3, "freeze": 3e-3, "prefix": 5e-2, "prompt": 5e-2, "ia3": 5e-2}
STEPS = 4
FEW_TOKENS = {"num_virtual_tokens": 4}


VARIANT_STAGES = ("sft", "reward", "dpo")
"""A variant is tried with a stage that has a reference, one that has none, and one with another head."""


def combinations() -> Iterator[tuple[str, str, str]]:
    """Every stage, method and option that the matrix speaks of."""
    for method in METHODS:
        for stage in VARIANT_STAGES if method in VARIANTS else STAGES:
            yield stage, method, ""
    for option in OPTIONS:
        for method in (*method_names(), *(SHARDED if option in SHARDINGS else ())):
            yield "sft", method, option
    for stage in STAGES:
        if stage not in ("sft", "pretrain"):
            for sharding in SHARDINGS:
                yield from ((stage, method, sharding) for method in ("full", "lora"))


def settings_of(stage: str, method: str, option: str, base: Path, processes: int = 1) -> dict[str, Any]:
    """The settings of a few steps on the same eight rows; shared out there are two processes."""
    draws = stage == "grpo"
    processes = 2 if option in SHARDINGS else processes
    own = METHODS[method]
    small = {
        "freeze": {"num_trainable_layers": 1},
        "prefix": FEW_TOKENS,
        "prompt": FEW_TOKENS,
        "adapter": {"bottleneck_size": 8},
    }
    return {
        "model": {"name": str(base), "max_length": 256},
        "method": {**own, **small.get(own["name"], {})},
        "train": {
            "stage": stage,
            "learning_rate": RATES.get(own["name"], 1e-2),
            "lr_scheduler_type": "constant",
            "num_train_epochs": 1 if draws else STEPS,  # a step of grpo takes two rows, four answers to each
            "global_batch_size": 8,
            "per_device_train_batch_size": 8 // processes,
            "logging_steps": 1,
            "eval_steps": 100,
            "save_steps": 100,
            **({option: True} if option in ("packing", "gradient_checkpointing") else {}),
            **({"grpo": {**REWARDED, "rewards": [{"metric": "exact_match"}]}} if draws else {}),
        },
        "evaluate": {"metrics": ["exact_match"]},
        "hardware": {
            "num_threads": 1,
            "num_processes": processes,
            "sharding": option if option in SHARDINGS else "none",
        },
        "tracking": {"report_to": []},
    }


def refusals(settings: dict[str, Any]) -> list[Refusal]:
    """Those of the table that hold for these settings."""
    config = Config.model_validate(settings)
    return refused(Chosen(config.method, config.train, config.hardware))


def versions() -> dict[str, str]:
    """What the matrix was made with."""
    made_with = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "deepspeed")
    return {name: version(name) if find_spec(name) else "not installed" for name in made_with}
