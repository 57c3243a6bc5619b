"""Virtual tokens before a row (prefix and prompt tuning), so that padding does not move the row away."""

import inspect
from typing import Any


def count_positions(model: Any) -> None:
    """Let the base of `model` count positions by the attention mask where it is given none.

    PEFT gives the base none for prompt tuning. On a row that is padded on the left, positions would then
    count the padding between virtual tokens and text, and an answer would depend on the rows beside it.
    Generation for prefix tuning passes them on; a forward pass alone does not.

    Args:
        model: a PEFT model for causal language modelling.
    """
    base = model.get_base_model()
    if "position_ids" in inspect.signature(base.forward).parameters:
        base.register_forward_pre_hook(_positions_by_mask, with_kwargs=True)


def _positions_by_mask(
    base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mask = kwargs.get("attention_mask")
    if kwargs.get("position_ids") is not None or mask is None or mask.dim() != 2:
        return args, kwargs
    rows = kwargs["input_ids"] if kwargs.get("inputs_embeds") is None else kwargs["inputs_embeds"]
    counted = (mask.long().cumsum(dim=-1) - 1).clamp(min=0)
    return args, {**kwargs, "position_ids": counted[:, -rows.shape[1] :]}
