"""How parameters are adapted: all of them, those of the last layers, or an adapter beside frozen ones."""

from typing import TYPE_CHECKING, Any

from kit.config.errors import ConfigError, Problem
from kit.config.methods import WHOLE
from kit.config.schema import Config
from kit.models.four_bits import keep_layout
from kit.models.loading import device, dtype, load_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def load_for_training(config: Config, golden: "Path | None" = None) -> Any:
    """The base model of `config`, adapted as `config.method` says, ready for the trainer.

    `full` and `freeze` train float32 weights, because at small rates a bfloat16 weight rounds most updates
    away; an adapter is in float32 beside a frozen base in the model's own type, for `qlora` in 4-bit NF4.

    Args:
        golden: the checkpoint of an earlier stage to go on from, instead of the base as it is.

    Raises:
        ConfigError: the method cannot adapt this model.
    """
    from kit.train.adapters import add_adapter
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
        attention=attention_for(config),
        scores=config.train.stage == "reward",
    )
    keep_layout(base)
    if method.name == "full":
        return base
    if method.name == "freeze":
        return freeze_all_but_last(base, method.num_trainable_layers)
    return continue_adapter(base, golden) if golden else add_adapter(base, config)


def training_dtype(config: Config) -> "torch.dtype":
    """The type the base's weights are held in while training; see `load_for_training`."""
    import torch

    if config.method.name in WHOLE and config.model.dtype == "auto":
        return torch.float32
    return dtype(config.model, device(config.hardware))


def freeze_all_but_last(base: Any, layers: int) -> Any:
    """Leave the last `layers` and the norm behind them to train, and nothing else.

    Embeddings and output head stay frozen. In many models they are one matrix: to train it would train the
    input too, below every frozen layer. In the others the head alone is as large as several layers. That of a
    reward model is new, and trained.

    Raises:
        ConfigError: the model has fewer layers, or none that can be told from the rest.
    """
    depth, parents = base.config.get_text_config().num_hidden_layers, layer_stacks(base)
    if not parents or layers > depth:
        raise ConfigError(
            Problem(
                where="method.num_trainable_layers",
                message=f"{layers} of the last layers are to be trained, and the model has {depth}"
                + ("" if parents else ", not in one list"),
                hint="choose fewer, or method full" if parents else "use full or lora",
            )
        )
    base.requires_grad_(False)
    parent, stack = parents[0]
    norms = [
        child
        for name, child in parent.named_children()
        if "Norm" in type(child).__name__ and "embed" not in name
    ]
    heads = [base.score] if hasattr(base, "score") else []
    for part in [*list(stack)[depth - layers :], *norms, *heads]:
        part.requires_grad_(True)
    return base


def layer_stacks(model: Any) -> list[tuple[Any, Any]]:
    """Lists as long as the language model is deep, with the module that each lies in; the first holds its
    layers. Empty where they are not in one list."""
    from torch.nn import ModuleList

    depth = model.config.get_text_config().num_hidden_layers
    return [
        (parent, child)
        for parent in model.modules()
        for child in parent.children()
        if isinstance(child, ModuleList) and len(child) == depth
    ]


def of_reference(name: str) -> bool:
    """Whether a parameter is of the copy of an adapter that preferences are measured against."""
    return ".ref." in f"{name}."


def parameter_counts(model: Any) -> tuple[int, int]:
    """Trainable and all parameters of `model`; a 4-bit weight counts as one parameter."""
    trainable = total = 0
    for name, parameter in model.named_parameters():
        if of_reference(name):
            continue
        # bitsandbytes packs two 4-bit weights into a byte.
        count = parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total
