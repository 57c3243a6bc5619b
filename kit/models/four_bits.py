"""4-bit weights as bitsandbytes lays them out on CPUs."""

from typing import Any


def keep_layout(base: Any) -> None:
    """Keep 4-bit weights in the layout that gradients pass through and that can be read.

    On CPUs with AVX512-BF16 bitsandbytes lays them out anew at the first forward pass in evaluation mode, for
    a kernel without a backward pass. A validation would then cut the gradients of all later steps, and DoRA,
    which reads the weights for their size, would read others.
    """
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
