"""LoRA speed taken apart."""

from typing import Any


def counted(model: Any, rows: int, tokens: int) -> float:
    """FLOP of a forward and a backward pass over `rows` of `tokens`, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    ids = torch.zeros((rows, tokens), dtype=torch.long, device=device)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    model.zero_grad()
    return float(counter.get_total_flops())
