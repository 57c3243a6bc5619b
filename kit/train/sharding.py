"""`hardware.sharding` in the words of FSDP2, as the trainer hands them to Accelerate."""

import os
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.schema import Config
from kit.models.loading import device


def check_sharding(config: Config) -> None:
    """Refuse to share a model out where it would not be, or could not.

    Raises:
        ConfigError: there is no GPU, on which alone Accelerate shards (on CPUs each process would hold the
            whole model without a word), or `accelerate launch` was told to use DeepSpeed.
    """
    asked, where = config.hardware.sharding, "hardware.sharding"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1"):
        hint = "launch without it; hardware.sharding: fsdp shares a model out among GPUs"
        message = "accelerate is told to use DeepSpeed, and this release has not trained with it"
        raise ConfigError(Problem(where, message, hint))
    if asked != "none" and device(config.hardware).type == "cpu":
        hint = "set it to none: on CPUs each process holds the model"
        raise ConfigError(Problem(where, f"{asked!r} shards over GPUs, and torch sees none", hint))


def sharding_arguments(config: Config) -> dict[str, Any]:
    """The arguments by which transformers' trainer shares a model out; empty where each process holds it.

    Recomputed activations are left to the wrapper under FSDP, which has to know of them (transformers'
    documentation of `fsdp_config`); the checkpoints hold the whole model, so that they can be resumed and
    evaluated on another number of GPUs.
    """
    hardware = config.hardware
    if hardware.sharding == "fsdp":
        return {
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # a transformer block is gathered at a time
                "reshard_after_forward": True,
                "cpu_offload": hardware.cpu_offload,
                "state_dict_type": "FULL_STATE_DICT",
                "activation_checkpointing": config.train.gradient_checkpointing,
            },
            "gradient_checkpointing": False,
        }
    return {}
