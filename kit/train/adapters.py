"""Adapters beside a frozen base, by PEFT: which one a method asks for, where it begins, how it is saved."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.methods import SOFT_PROMPTS, too_wide
from kit.config.schema import Config
from kit.config.schema_train import MethodConfig
from kit.config.support import is_pissa
from kit.models.loading import model_folder
from kit.models.soft_prompts import count_positions


def add_adapter(base: Any, config: Config) -> Any:
    """Freeze `base` and put the adapter of `config.method` beside its layers, or before its rows.

    Raises:
        ConfigError: the model has no layers that the method could adapt, or none of those names.
    """
    from peft import get_peft_model

    method = config.method
    try:
        settings = _ADAPTERS[method.name](base, method)
        # PEFT trains and saves the new head of a sequence classifier, which a reward model is.
        settings.task_type = "SEQ_CLS" if config.train.stage == "reward" else "CAUSAL_LM"
        model = get_peft_model(base, settings)
    except (TypeError, ValueError) as error:
        raise _not_adapted(base, method, str(error).splitlines()[0]) from error
    if method.name in SOFT_PROMPTS:
        _check_window(base, config)
        count_positions(model)
    if method.name == "oft":
        _check_blocks(model, method.oft_block_size)
    if method.init_lora_weights == "loftq":
        from kit.train.loftq import begin_with_loss

        begin_with_loss(model, model_folder(config.model))
    if is_pissa(method):
        model.initial_adapter = _adapter_weights(model)
    return model


def _lora(base: Any, method: MethodConfig) -> Any:
    """LoRA (Hu et al. 2021) with what was added to it. LoftQ's own weights are set afterwards."""
    from peft import LoraConfig

    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=method.target_modules,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        init_lora_weights=method.init_lora_weights if is_pissa(method) else True,
    )


def _prefix(base: Any, method: MethodConfig) -> Any:
    """Keys and values before every layer's own (Li and Liang 2021), without the network that they trained
    through: PEFT saves what it gives and not itself, so that no run could be resumed."""
    from peft import PrefixTuningConfig

    return PrefixTuningConfig(num_virtual_tokens=method.num_virtual_tokens)


def _prompt(base: Any, method: MethodConfig) -> Any:
    """Embeddings before every row, drawn from the vocabulary at first (Lester et al. 2021, section 3.2)."""
    from peft import PromptTuningConfig

    return PromptTuningConfig(
        num_virtual_tokens=method.num_virtual_tokens,
        prompt_tuning_init="SAMPLE_VOCAB",
    )


def _ia3(base: Any, method: MethodConfig) -> Any:
    """Scales of keys, values and what enters the last feed-forward layer (Liu et al. 2022, section 3.3).

    PEFT's own list scales queries in place of keys for many families, so it is taken for others only.
    """
    from peft import IA3Config

    wanted, inward = ["k_proj", "v_proj", "down_proj"], ["down_proj"]
    found = {name.rsplit(".", 1)[-1] for name, _ in base.named_modules()}
    as_in_the_paper = set(wanted) <= found
    return IA3Config(
        target_modules=wanted if as_in_the_paper else None,
        feedforward_modules=inward if as_in_the_paper else None,
    )


def _bottleneck(base: Any, method: MethodConfig) -> Any:
    """Small layers behind those of the base (Houlsby et al. 2019), by a tuner of ours: PEFT brings none.

    Raises:
        ConfigError: they would be wider than the base.
    """
    if problems := too_wide(method, getattr(base.config.get_text_config(), "hidden_size", None)):
        raise ConfigError(problems)  # of a model that had to be fetched: of others it was said before
    from kit.models.bottleneck import BottleneckConfig, projections, register

    register()
    return BottleneckConfig(
        bottleneck_size=method.bottleneck_size,
        target_modules=projections(base, after_attention=method.bottleneck_placement == "houlsby"),
    )


def _oft(base: Any, method: MethodConfig) -> Any:
    """Rotations of every layer's inputs, in blocks (Qiu et al. 2023; 2025)."""
    from peft import OFTConfig

    return OFTConfig(
        target_modules=method.target_modules,
        oft_block_size=method.oft_block_size,
    )


_ADAPTERS: dict[str, Callable[[Any, MethodConfig], Any]] = {
    "lora": _lora,
    "qlora": _lora,
    "prefix": _prefix,
    "prompt": _prompt,
    "ia3": _ia3,
    "adapter": _bottleneck,
    "oft": _oft,
}


def _not_adapted(base: Any, method: MethodConfig, reason: str) -> ConfigError:
    if method.name not in ("lora", "qlora", "oft"):
        message = f"`{method.name}` does not know the layers of a {base.config.model_type} ({reason})"
        return ConfigError(Problem(where="method.name", message=message, hint="use lora, which adapts any"))
    layers = sorted({name.rsplit(".", 1)[-1] for name, _ in base.named_modules() if name.endswith("proj")})
    return ConfigError(
        Problem(
            where="method.target_modules",
            message=f"{method.target_modules!r} cannot be adapted ({reason})",
            hint=f"use `all-linear`, or names of its layers, such as {', '.join(layers) or 'none'}",
        )
    )


def _check_window(base: Any, config: Config) -> None:
    """Refuse virtual tokens that a layer could lose sight of.

    Raises:
        ConfigError: attention looks back over fewer tokens than a padded row and its answer may have. Padding
            stands between virtual tokens and text, so that answers would depend on the rows beside them.
    """
    window = getattr(base.config.get_text_config(), "sliding_window", None)
    longest = config.method.num_virtual_tokens + config.model.max_length + config.evaluate.max_new_tokens
    if window is not None and window < longest:
        raise ConfigError(
            Problem(
                where="method.name",
                message=f"attention looks back {window:,} tokens in this model, and virtual tokens, "
                f"`model.max_length` and `evaluate.max_new_tokens` together are {longest:,}: long rows would "
                "lose sight of what `" + config.method.name + "` learned",
                hint="lower `model.max_length`, or use lora",
            )
        )


def _check_blocks(model: Any, wanted: int) -> None:
    """Refuse a block size that PEFT would exchange for another one, with a line nobody reads.

    Raises:
        ConfigError: it does not divide the width of an adapted layer.
    """
    widths = {module.in_features for module in model.modules() if wanted_block(module) not in (None, wanted)}
    if widths:
        listed = ", ".join(map(str, sorted(widths)))
        raise ConfigError(
            Problem(
                where="method.oft_block_size",
                message=f"{wanted} does not divide the width of every adapted layer ({listed})",
                hint="choose a divisor of them, such as 32 or 16",
            )
        )


def wanted_block(module: Any) -> int | None:
    """The block size of an OFT layer; None for any other module."""
    sizes = getattr(module, "oft_block_size", None)
    return sizes.get("default") if isinstance(sizes, dict) else None


def _adapter_weights(model: Any) -> dict[str, Any]:
    from peft import get_peft_model_state_dict

    return {name: weight.detach().clone() for name, weight in get_peft_model_state_dict(model).items()}


def save_weights(model: Any, folder: Path, state: dict[str, Any] | None = None) -> None:
    """Write full weights or the adapter to `folder`, so that they fit the base as it is on disk.

    PiSSA has taken part of the base's weights into the adapter. What it learned is written as a LoRA of twice
    the rank on the base itself, as PEFT documents: AB - A0 B0 = [A|A0] [B|-B0].

    Args:
        state: the weights, where `model` holds a part of them only.
    """
    # Without the copy that preferences are measured against.
    own = {"selected_adapters": ["default"]} if getattr(model, "peft_config", None) else {}
    initial = getattr(model, "initial_adapter", None)
    if initial is None:
        model.save_pretrained(str(folder), state_dict=state, **own)
        return
    with TemporaryDirectory(dir=folder.parent) as there:
        begun = Path(there) / "pissa_before"
        write_adapter(model, initial, begun)
        model.save_pretrained(str(folder), path_initial_model_for_weight_conversion=str(begun), **own)


def write_adapter(model: Any, weights: dict[str, Any], folder: Path) -> None:
    """An adapter of the shape of `model`'s with other weights, as a folder that PEFT reads."""
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(
        {name: weight.cpu().contiguous() for name, weight in weights.items()},
        folder / SAFETENSORS_WEIGHTS_NAME,
    )


def loraplus_optimizer(model: Any, arguments: Any, config: Config) -> Any:
    """PEFT's optimiser of LoRA+ in place of the trainer's own; None where it is not asked for."""
    from peft.optimizers import create_loraplus_optimizer
    from transformers import Trainer

    ratio = config.method.loraplus_lr_ratio
    if ratio is None:
        return None
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    return create_loraplus_optimizer(
        model,
        kind,
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=arguments.weight_decay,
        **settings,
    )
