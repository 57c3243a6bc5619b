"""What makes a pass quicker and changes nothing in it but rounding: LoRA in fewer kernels, layers compiled.

Only the trainer, and what makes, probes and measures it, import this module: it loads torch and peft.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from kit.config.errors import ModelError, Problem
from kit.train.methods import layer_stacks

GRAPHS = 64
"""Most ways in which layers may be met: by kind, frozen or trained, the first one, with a mask or without. At
its own limit, 8, torch goes on uncompiled with the rest."""


def fuse_lora(model: Any) -> None:
    """Add LoRA's product to that of the frozen matrix as it is made, under autocast.

    PEFT makes it, scales it and adds it, each a pass over a tensor as large as what the matrix gives, and
    widens what goes in to the adapter's float32, from which autocast narrows it again: for the MLP of a 7B
    model more bytes than all else of a layer. Here the scale goes to the narrow side of the product, and the
    sum is made where the product is (BLAS's beta). One rounding to 16 bits is left of three.
    """
    for layer in _plain_lora(model):
        layer.forward = MethodType(_fused, layer)


def _plain_lora(model: Any) -> list[Any]:
    """Linear layers with LoRA beside them and nothing else: no variant of it (DoRA is one), no bias."""
    found = [one for one in model.modules() if isinstance(one, LoraLayer)]
    return [
        one
        for one in found
        if isinstance(one.get_base_layer(), torch.nn.Linear)
        and not one.lora_variant
        and not any(one.lora_bias.values())
    ]


def _fused(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """What `layer` gives for `x`, (..., width in) to (..., width out)."""
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(names) != 1 or args or kwargs:
        usual: torch.Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return usual
    name = names[0]
    rows = x.flatten(0, -2)
    narrow = layer.lora_A[name](layer.lora_dropout[name](rows)) * layer.scaling[name]
    made: torch.Tensor = layer.base_layer(rows)
    # In place, for what the frozen matrix gave is needed nowhere else; of two dimensions it is no view.
    made.addmm_(narrow.to(made.dtype), layer.lora_B[name].weight.t().to(made.dtype))
    return made.view(*x.shape[:-1], made.shape[-1])


def compile_layers(model: Any) -> None:
    """Compile each of the model's layers in place, and with the first all of them, for they are alike.

    The whole model would be one graph that takes minutes. Weights keep their names; rows may be of any
    length. Validation and answers, whose batches have other shapes in every step, run as they are: see
    `as_loaded`.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    for layer in layers_of(model):
        layer.compile(dynamic=True)


def not_compiled(error: Exception) -> ModelError:
    """That torch failed to compile the layers, with its reason: mostly that a compiler of C is missing."""
    cause = getattr(error, "inner_exception", error)  # what torch wraps in its own
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    hint = "set it to false: compiled layers are quicker and nothing else"
    return ModelError(
        Problem("train.torch_compile", f"torch cannot compile the model's layers here ({reason})", hint)
    )


def layers_of(model: Any) -> list[torch.nn.Module]:
    """The layers of a language model, first to last; none where they are not in one list."""
    stacks = layer_stacks(model)
    return list(stacks[0][1]) if stacks else []


@contextmanager
def as_loaded(model: Any) -> Iterator[None]:
    """Within, the model works as if nothing had been done to it here, whatever runs it: with LoRA as PEFT has
    it, for there is no autocast around answers, and with layers as they were written."""
    fused = {one: one.__dict__.pop("forward") for one in _plain_lora(model) if "forward" in one.__dict__}
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for layer, forward in fused.items():
            layer.forward = forward
