"""How parameters are adapted: all of them (`full`), or small matrices beside frozen ones (LoRA)."""

from typing import TYPE_CHECKING, Any

from kit.config.errors import ConfigError, Problem
from kit.config.preference import LOSSES
from kit.config.schema import Config
from kit.config.schema_train import MethodConfig
from kit.models.loading import device, dtype, load_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch

LORA_BAND = (3e-5, 1e-4)
FULL_SHARE = 0.2
"""Full fine-tuning is advised a fifth of the LoRA rate."""
PREFERENCE_BAND = (5e-6, 5e-5)
"""For dpo, kto and grpo by LoRA. A tenth in full: Tunstall et al. 2023 (Zephyr) 5e-7, Rafailov et al. 2023
1e-6."""
PREFERENCE_FULL_SHARE = 0.1


def load_for_training(config: Config, golden: "Path | None" = None) -> Any:
    """The base model of `config`, adapted as `config.method` says, ready for the trainer.

    `full` trains float32 weights, because at small rates a bfloat16 weight rounds most updates away;
    `lora` keeps the frozen base in the model's own type and the adapter in float32; `qlora` holds the
    base in 4-bit NF4.

    Args:
        golden: the checkpoint of an earlier stage to go on from, instead of the base as it is.
    """
    from kit.train.chain import continue_adapter, starting_model
    from kit.train.packed import attention_for

    method = config.method
    weights = training_dtype(config)
    base = load_model(
        starting_model(config, golden),
        config.hardware,
        quantize_4bit=method.name == "qlora",
        double_quantization=method.double_quantization,
        weights=weights,
        attention=attention_for(config, weights),
        scores=config.train.stage == "reward",
    )
    keep_differentiable(base)
    if method.name == "full":
        return base
    if golden:
        return continue_adapter(base, golden)
    return add_adapter(base, method, "SEQ_CLS" if config.train.stage == "reward" else "CAUSAL_LM")


def keep_differentiable(base: Any) -> None:
    """Keep 4-bit weights in the layout that gradients pass through.

    On CPUs with AVX512-BF16 bitsandbytes lays them out anew at the first forward pass in evaluation mode, for
    a kernel without a backward pass. A validation would then cut the gradients of all later steps.
    """
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def training_dtype(config: Config) -> "torch.dtype":
    """The type the base's weights are held in while training; see `load_for_training`."""
    import torch

    if config.method.name == "full" and config.model.dtype == "auto":
        return torch.float32
    return dtype(config.model, device(config.hardware))


def add_adapter(base: Any, method: MethodConfig, task: str = "CAUSAL_LM") -> Any:
    """Freeze `base` and put LoRA matrices (Hu et al. 2021) beside the layers of `method.target_modules`.

    Args:
        task: as PEFT calls it; of a reward model, `SEQ_CLS`, the output is trained whole.

    Raises:
        ConfigError: no layer of the model has one of those names.
    """
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(
        task_type=task,
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=method.target_modules,
    )
    try:
        return get_peft_model(base, adapter)
    except ValueError as error:
        layers = sorted(
            {name.rsplit(".", 1)[-1] for name, _ in base.named_modules() if name.endswith("proj")}
        )
        raise ConfigError(
            Problem(
                where="method.target_modules",
                message=f"{method.target_modules!r} cannot be adapted ({str(error).splitlines()[0]})",
                hint=f"use `all-linear`, or names of its layers, such as {', '.join(layers) or 'none'}",
            )
        ) from error


def parameter_counts(model: Any) -> tuple[int, int]:
    """Trainable and all parameters of `model`; a 4-bit weight counts as one parameter."""
    trainable = total = 0
    for name, parameter in model.named_parameters():
        if ".ref." in name:  # the copy of an adapter that preferences are measured against
            continue
        # bitsandbytes packs two 4-bit weights into a byte.
        count = parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def rate_advice(config: Config) -> str | None:
    """Advice where the learning rate lies outside the usual band of its method; None inside it.

    The band 3e-5 to 1e-4 for LoRA, and a fifth of it for full fine-tuning, is practice for models of
    billions of parameters. Small models want more, so this is advice and never an error, and none for tiny.
    Preferences are learned more slowly: see `PREFERENCE_BAND`.
    """
    if config.train.stage == "pretrain" or config.model.name == "tiny":
        return None
    preference = config.train.stage in (*LOSSES, "grpo")
    band, full = (PREFERENCE_BAND, PREFERENCE_FULL_SHARE) if preference else (LORA_BAND, FULL_SHARE)
    share = full if config.method.name == "full" else 1.0
    low, high = band[0] * share, band[1] * share
    rate = config.train.learning_rate
    if low <= rate <= high:
        return None
    side = "below" if rate < low else "above"
    what = f"{config.train.stage} by {config.method.name}" if preference else config.method.name
    return f"learning rate {rate:g} is {side} the usual {low:g} to {high:g} for {what}"
