"""`hardware.sharding` in the words of FSDP2 and DeepSpeed, as the trainer hands them to Accelerate."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.methods import WHOLE
from kit.config.schema import Config
from kit.config.schema_train import Hardware
from kit.config.yaml_lines import load_yaml
from kit.models.loading import device

ZERO_STAGES = {"zero2": 2, "zero3": 3}
"""`hardware.sharding` -> how much DeepSpeed's ZeRO (Rajbhandari et al. 2020) shares out: gradients and the
optimiser's state, or the weights besides."""


def check_sharding(config: Config) -> None:
    """Refuse to share a model out where it would not be, or could not.

    Raises:
        ConfigError: there is no GPU, on which alone Accelerate shards (on CPUs each process would hold the
            whole model without a word), `accelerate launch` was told to use DeepSpeed, DeepSpeed is not
            installed, or the GPU does not compute in bfloat16.
    """
    asked, where = config.hardware.sharding, "hardware.sharding"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1"):
        hint = "launch without it; hardware.sharding: zero2 or zero3 says so in the settings of the run"
        message = "accelerate is told to use DeepSpeed, by a configuration that the run would not know of"
        raise ConfigError(Problem(where, message, hint))
    if asked == "none":
        return
    if device(config.hardware).type == "cpu":
        hint = "set it to none: on CPUs each process holds the model"
        raise ConfigError(Problem(where, f"{asked!r} shards over GPUs, and torch sees none", hint))
    if asked in ZERO_STAGES:
        check_zero(config)


def check_zero(config: Config) -> None:
    """Refuse ZeRO where it is not installed, or would have to compute in float16.

    Raises:
        ConfigError: it is one of these.
    """
    import torch

    asked, where = config.hardware.sharding, "hardware.sharding"
    if find_spec("deepspeed") is None:
        hint = "install it with `pip install 'casekit[deepspeed]'`, or set it to fsdp"
        raise ConfigError(Problem(where, f"{asked!r} is done by DeepSpeed, which is not installed", hint))
    if torch.cuda.get_device_capability(device(config.hardware)) < (8, 0):
        message = f"{asked!r} was not trained in float16, and this GPU does not compute in bfloat16"
        raise ConfigError(Problem(where, message, "set it to none or fsdp"))


def check_same_sharding(run: Path, hardware: Hardware) -> None:
    """Refuse to resume from checkpoints that were written by another way of sharing out.

    Raises:
        ConfigError: `hardware.sharding` was another one, or under ZeRO the number of processes, each of which
            wrote its own part of the optimiser's state.
    """
    settings, _ = load_yaml(run / "config.yaml")
    then = Hardware.model_validate(settings["hardware"])
    before, now = then.sharding, hardware.sharding
    if before != now:
        message = f"was {before!r} when the run began and is {now!r} now: its checkpoints fit the first alone"
        raise ConfigError(Problem("hardware.sharding", message, "restore it, or start a new run"))
    if now in ZERO_STAGES and then.world_size != hardware.world_size:
        message = (
            f"{then.world_size} processes wrote the checkpoints, and there are {hardware.world_size} now: "
            f"under {now} each reads its own part"
        )
        hint = f"resume with {then.world_size} processes, or start a new run"
        raise ConfigError(Problem("hardware.num_processes", message, hint))


def sharding_arguments(config: Config) -> dict[str, Any]:
    """The arguments by which transformers' trainer shares a model out; empty where each process holds it.

    Recomputed activations are left to the wrapper under FSDP, which has to know of them (transformers'
    documentation of `fsdp_config`); the checkpoints hold the whole model, so that they can be resumed and
    evaluated on another number of GPUs.
    """
    hardware = config.hardware
    if hardware.sharding in ZERO_STAGES:
        return {"deepspeed": zero_settings(config)}
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


def zero_settings(config: Config) -> dict[str, Any]:
    """DeepSpeed's configuration; `auto` is what transformers takes from the trainer's own arguments.

    Weights stay in the types that they are loaded in (`load_for_training`), so neither of DeepSpeed's own
    16-bit modes is on. On a GPU its engine switches off an autocast that it was not told of, which is that of
    bfloat16 (see `check_zero`); on CPUs it knows of none.
    """
    adapter = config.method.name not in WHOLE
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": False},
        "fp16": {"enabled": False},
        "torch_autocast": {
            "enabled": device(config.hardware).type == "cuda",
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],  # gradients are summed up in the type that they have
        },
        "zero_optimization": {
            "stage": ZERO_STAGES[config.hardware.sharding],
            "stage3_gather_16bit_weights_on_model_save": True,  # whole, in the type that they have
            # Small tensors are kept whole, and are gathered in one type: an adapter's is not its base's.
            **({"stage3_param_persistence_threshold": 0} if adapter else {}),
        },
        "zero_allow_untested_optimizer": True,  # torch's own AdamW
    }
