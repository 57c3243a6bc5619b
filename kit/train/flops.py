"""Model FLOPs of a trained token, and the share of the device's peak that they come to (MFU).

After PaLM (Chowdhery et al. 2022, appendix B): a matrix of N parameters costs a token 2N floating-point
operations in the forward pass, 2N for the gradient of what goes in and 2N for the gradient of the matrix, 6N
in all; attention adds 12 · L · H · Q · T (L layers, H heads of width Q, T tokens attended to, both passes,
without the saving that a causal mask allows). What gradient checkpointing computes again is not counted.

A frozen matrix needs no gradient of its own: 4N, as under LoRA, whose own matrices cost 6 a parameter. Layers
below the lowest trained parameter need no backward pass at all: 2N, and a third of the attention. Of a
mixture's experts those count that a token goes through.

No torch at import time: the tables are read by commands that load none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PEAKS = (
    (r"H100 PCIe", 756),
    (r"H[12]00 NVL", 835),
    (r"G?H[12]00", 989),
    (r"A100", 312),
    (r"L40S", 362),
    (r"L4", 121),
    (r"RTX 4090$", 165),
)
"""Dense 16-bit (bfloat16) TFLOPS with sums in float32, by what stands as a word in the name that CUDA gives
the device; the first that fits counts. From NVIDIA's data sheets, which print twice as much for sparse
matrices; RTX 4090: white paper of the Ada architecture, appendix A (165.2)."""

_LAYER = re.compile(r"\.(?:layers|h|blocks|block)\.(\d+)\.")


@dataclass(frozen=True)
class Cost:
    """What a trained token costs a model.

    Attributes:
        matrices: FLOPs a token by its matrices, both passes.
        attention: FLOPs a token and a token that it attends to, both passes.
        forward: FLOPs a token of a forward pass by its matrices.
        forward_attention: as `attention`, of a forward pass.
    """

    matrices: float
    attention: float
    forward: float
    forward_attention: float

    def per_token(self, context: float, references: int = 0) -> float:
        """FLOPs of a trained token.

        Args:
            context: tokens attended to; see `mean_context`.
            references: forward passes of a frozen reference beside it (dpo: 1).
        """
        forward = self.forward + self.forward_attention * context
        return self.matrices + self.attention * context + references * forward


def cost_of(model: Any) -> Cost:
    """The cost of a token by what of `model` is trained; see above."""
    config = model.config.get_text_config()
    embedding = model.get_input_embeddings().weight
    tied = bool(getattr(config, "tie_word_embeddings", False))
    active = _active_experts(config)
    lowest = _lowest_trained(model, embedding)
    forward = matrices = 0.0
    for name, parameter in model.named_parameters():
        if parameter is embedding and not tied:
            continue  # looked up, not multiplied by; tied, it is the head
        count = parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)
        count *= active if ".experts." in name else 1.0
        layer = _LAYER.search(name)
        passed = layer is not None and int(layer[1]) < lowest
        forward += 2 * count
        matrices += 2 * count if passed else (6 if parameter.requires_grad else 4) * count
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    layers = config.num_hidden_layers
    below = min(lowest, layers)
    attention = heads * width * (12.0 * (layers - below) + 4.0 * below)
    return Cost(matrices, attention, forward, 4.0 * layers * heads * width)


def _active_experts(config: Any) -> float:
    """The share of its experts that a token goes through."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    count = next((found for name in names if (found := getattr(config, name, None))), None)
    chosen = getattr(config, "num_experts_per_tok", None)
    return float(chosen / count) if count and chosen else 1.0


def _lowest_trained(model: Any, embedding: Any) -> int:
    """The first layer with a trained parameter; 0 where what goes into the layers is trained as well."""
    if embedding.requires_grad:
        return 0
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = [int(found[1]) if (found := _LAYER.search(name)) else None for name in trained]
    inside = [layer for layer in layers if layer is not None]
    before = any("prompt_encoder" in name for name in trained)  # virtual tokens go through every layer
    return 0 if before or not inside else min(inside)


def mean_context(lengths: Sequence[int]) -> float:
    """The tokens that a token's row has, in the mean over tokens: sum of squares by sum of lengths.

    Of rows that are all T long, T. Packed or not, a token attends to its own row alone.
    """
    return sum(length**2 for length in lengths) / sum(lengths)


def peak_flops(device: str) -> float | None:
    """Dense 16-bit FLOPs a second of a device by the name CUDA gives it; None where it is not known.

    A slice of a device (MIG) has a share of it that its name does not say.
    """
    if "MIG" in device:
        return None
    word = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
    return next((tflops * 1e12 for part, tflops in PEAKS if re.search(word.format(part), device)), None)
