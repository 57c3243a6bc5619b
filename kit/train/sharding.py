"""`hardware.sharding` in the words of FSDP2 and DeepSpeed, as the trainer hands them to Accelerate."""

import importlib.util
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.schema import Config
from kit.models.loading import device


def check_sharding(config: Config) -> None:
    """Refuse to share a model out where it would not be, or could not.

    Raises:
        ConfigError: there is no GPU, on which alone Accelerate shards (on CPUs each process would hold the
            whole model without a word), or DeepSpeed is not installed.
    """
    asked = config.hardware.sharding
    if asked == "none":
        return
    where = "hardware.sharding"
    if device(config.hardware).type == "cpu":
        hint = "set it to none: on CPUs each process holds the model"
        raise ConfigError(Problem(where, f"{asked!r} shards over GPUs, and torch sees none", hint))
    if asked == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        hint = "`pip install 'casekit[deepspeed]'`, or set it to fsdp, which torch brings"
        raise ConfigError(Problem(where, "`deepspeed` is not installed", hint))


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
    if hardware.sharding == "deepspeed":
        return {"deepspeed": deepspeed_config(config)}
    return {}


def deepspeed_config(config: Config) -> dict[str, Any]:
    """ZeRO-3 (Rajbhandari et al. 2020) for DeepSpeed; `auto` takes the trainer's own arguments."""
    offload = {"device": "cpu", "pin_memory": True}
    zero: dict[str, Any] = {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if config.hardware.cpu_offload:
        zero |= {"offload_optimizer": offload, "offload_param": offload}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }
