"""What makes a pass quicker and changes nothing in it but rounding: casts left out, layers compiled.

Only `kit.train.setup` and `kit.train.trainer` import this module: it loads torch and peft.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn import ModuleList


def spare_casts(model: Any) -> None:
    """Leave what enters LoRA in the type it has, where products are computed in one type anyway.

    PEFT widens it to the adapter's float32, and autocast narrows it again, value for value: for each matrix
    a tensor as large as its input is written twice. DoRA computes a norm in that type, and keeps it.
    """
    for layer in _lora_layers(model):
        layer.cast_input_dtype_enabled = False


def _lora_layers(model: Any) -> list[BaseTunerLayer]:
    """Those with plain LoRA: without a variant of it, of which DoRA is one."""
    return [one for one in model.modules() if isinstance(one, LoraLayer) and not one.lora_variant]


def compile_layers(model: Any) -> None:
    """Compile each of the model's layers in place, and with the first all of them, for they are alike.

    The whole model would be one graph that takes minutes. Weights keep their names; rows may be of any
    length. Validation and answers, whose batches have other shapes in every step, run as they are: see
    `as_loaded`.
    """
    for layer in layers_of(model):
        layer.compile(dynamic=True)


def layers_of(model: Any) -> list[torch.nn.Module]:
    """The layers of a language model, first to last; none where they are not in one list."""
    depth = model.config.get_text_config().num_hidden_layers
    found = [one for one in model.modules() if isinstance(one, ModuleList) and len(one) == depth]
    return list(found[0]) if found else []


@contextmanager
def as_loaded(model: Any) -> Iterator[None]:
    """Within, the model works as if nothing had been done to it here, whatever runs it: casts are made, and
    what was compiled runs as it was written."""
    spared = [layer for layer in _lora_layers(model) if not layer.cast_input_dtype_enabled]
    for layer in spared:
        layer.cast_input_dtype_enabled = True
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for layer in spared:
            layer.cast_input_dtype_enabled = False
