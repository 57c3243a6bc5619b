"""`hardware.sharding` in the words of FSDP2 and DeepSpeed, as the trainer hands them to Accelerate."""

from typing import Any

from kit.config.schema import Config


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
