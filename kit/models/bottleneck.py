"""Bottleneck adapters (Houlsby et al. 2019) as a method of PEFT, which brings none.

Behind a projection that ends a part of a layer, of output h: h + up(gelu(down(h))). What is here is that one
line and what it trains; which layers are found, frozen, saved, loaded and switched off is PEFT's own.

Imports torch and PEFT; `register` is called wherever an adapter is made or loaded.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from peft import PeftConfig
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch.nn import Linear, Module, ModuleDict
from torch.nn.functional import gelu

PEFT_TYPE = "BOTTLENECK"
"""The `peft_type` of a saved adapter's `adapter_config.json`."""
ENDS = (
    ("o_proj", "down_proj"),  # Llama, Qwen, Mistral, Gemma, OLMo, GLM, Phi 3
    ("attention.dense", "dense_4h_to_h"),  # GPT-NeoX
    ("self_attention.dense", "dense_4h_to_h"),  # Falcon, Bloom
    ("self_attn.dense", "fc2"),  # Phi
    ("self_attn.out_proj", "fc2"),  # OPT
)
"""How the projections are called that end attention and the feed-forward part."""


def register() -> None:
    """Let PEFT make and load bottleneck adapters in this process; twice is once.

    PEFT's own `register_peft_method` takes only names of its closed list of types, while configurations and
    tables take any name.
    """
    PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = BottleneckConfig
    PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = BottleneckModel
    PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = BottleneckModel.prefix


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """What `adapter_config.json` says of a bottleneck adapter."""

    bottleneck_size: int = 64
    """Width of the bottleneck (m in the paper)."""
    target_modules: list[str] | None = None
    """Names of the projections that get one behind them; see `projections`."""
    modules_to_save: list[str] | None = None
    """Trained whole beside it: the new head of a reward model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE


class BottleneckLayer(Module, BaseTunerLayer):  # type: ignore[misc]
    """A projection with the adapter behind it. Input (..., in), output (..., out), of the base's type."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    base_layer: Module
    bottleneck_down: ModuleDict
    bottleneck_up: ModuleDict

    def __init__(self, base_layer: Module, adapter_name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down, self.bottleneck_up = ModuleDict(), ModuleDict()
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add an adapter that changes nothing yet: `up` is zero, `down` drawn as LoRA's A is."""
        layer: Any = self  # PEFT's half of it is untyped
        width = layer.get_base_layer().out_features
        up = Linear(config.bottleneck_size, width)
        torch.nn.init.zeros_(up.weight)
        torch.nn.init.zeros_(up.bias)
        self.bottleneck_down[adapter_name] = Linear(width, config.bottleneck_size)
        self.bottleneck_up[adapter_name] = up
        layer._move_adapter_to_device_of_base_layer(adapter_name)
        layer.set_adapter(layer.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The projection, then what every active adapter adds to it."""
        h: torch.Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return h
        given, active = h.dtype, cast(list[str], self.active_adapters)
        for name in active:
            if name in self.bottleneck_down:
                down, up = self.bottleneck_down[name], self.bottleneck_up[name]
                h = h.to(cast(Linear, down).weight.dtype)
                h = h + up(gelu(down(h)))
        return h.to(given)


class BottleneckModel(BaseTuner):  # type: ignore[misc]
    """A model whose `target_modules` have the adapter behind them."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _create_and_replace(
        self,
        peft_config: BottleneckConfig,
        adapter_name: str,
        target: Module,
        target_name: str,
        parent: Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
            return
        layer = BottleneckLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> None:
        raise ValueError(
            "a bottleneck adapter cannot be merged: what it adds is no linear function of its input"
        )


def projections(base: Any, after_attention: bool) -> list[str]:
    """The names by which the projections that get an adapter are called in `base`.

    Args:
        after_attention: behind the attention of a layer as well, not only behind its feed-forward part.

    Raises:
        ValueError: not every layer has exactly one of each, of the model's width.
    """
    config = base.config.get_text_config()
    wide = [
        name
        for name, module in base.named_modules()
        if getattr(module, "out_features", None) == config.hidden_size
    ]
    for ends in ENDS:
        found = [[name for name in wide if name.endswith(f".{end}")] for end in ends]
        counts = [len(names) for names in found]
        # In a layer's own part: that of a mixture's shared expert ends only some of what the part does.
        own = all(
            re.search(rf"\.\d+\.(\w+\.)?{re.escape(end)}$", name)
            for end, names in zip(ends, found, strict=True)
            for name in names
        )
        if own and counts == [config.num_hidden_layers] * len(ends):
            return list(ends if after_attention else ends[1:])
    raise ValueError(
        "in every layer one projection that ends attention and one that ends the feed-forward part were "
        f"looked for, named {', '.join(' and '.join(ends) for ends in ENDS)}"
    )
