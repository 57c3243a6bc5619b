"""LoftQ: LoRA matrices that begin with what 4 bits lost of the base (Li et al. 2023).

PEFT's `replace_lora_weights_loftq` does the same on a GPU alone, and leaves alpha / rank out, so that the
loss would be made up for twice at the usual alpha. So it is written here: a decomposition a layer.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import ConfigError, Problem

if TYPE_CHECKING:
    import torch


def begin_with_loss(model: Any, folder: Path) -> None:
    """Set the matrices of every 4-bit layer so that alpha/rank B A is the best of its rank for W - Q(W).

    Args:
        model: a 4-bit base with fresh LoRA matrices.
        folder: the base's safetensors weights, which have all their bits.

    Raises:
        ConfigError: the weights of a layer are not in the files under the layer's name.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import Linear4bit

    files = weight_files(folder)
    base = model.get_base_model()
    for name, layer in base.named_modules():
        if not isinstance(layer, Linear4bit):
            continue
        held = layer.get_base_layer().weight
        whole = read_weight(files, folder, f"{name}.weight").to(held.device, torch.float32)
        lost = whole - dequantize_4bit(held.data, held.quant_state).float()
        left, size, right = torch.linalg.svd(lost / layer.scaling["default"], full_matrices=False)
        rank = layer.r["default"]
        root = size[:rank].sqrt()
        layer.lora_A["default"].weight.data = (root[:, None] * right[:rank]).contiguous()
        layer.lora_B["default"].weight.data = (left[:, :rank] * root).contiguous()


def weight_files(folder: Path) -> dict[str, str]:
    """Weight -> the file in `folder` that holds it."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return named
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found.update(dict.fromkeys(file.keys(), path.name))
    return found


def read_weight(files: dict[str, str], folder: Path, name: str) -> "torch.Tensor":
    """One weight of a base as its files hold it.

    Raises:
        ConfigError: there is none of that name.
    """
    from safetensors import safe_open

    if name not in files:
        raise ConfigError(
            Problem(
                where="method.init_lora_weights",
                message=f"`loftq` needs {name!r} as {folder} has it, and it is not there under that name",
                hint="use `default` with this model",
            )
        )
    with safe_open(folder / files[name], framework="pt") as file:
        weight: torch.Tensor = file.get_tensor(name)
    return weight
