"""Attention of packed rows sample by sample, by torch's variable-length kernels (flash attention) on a GPU.

A packed row holds several samples that must not see each other. A mask says so of every pair of tokens: its
memory and the scores grow with the square of the row. These kernels are told where samples begin and never
meet the pairs across. To transformers this is one more attention implementation; without borders it is
`sdpa`, so that validation and answers take the usual way.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

VARLEN = "casekit_varlen"
"""As settings of a model call it."""

WIDEST_HEAD = 256
"""The widest head that the kernels are built for; its width is a multiple of 8."""

_NO_MASK_MADE, _NO_WINDOW_MADE = (1, 1, 1, 1), (1, 1, 1, 2)
"""The shape of what stands where a packed row's mask would be, and where one would be that looks back over a
window: kernels are told of it by the layer, and not every model's layers do."""


def register() -> None:
    """Make `VARLEN` known to transformers."""
    AttentionInterface.register(VARLEN, attention)
    AttentionMaskInterface.register(VARLEN, mask)


def borders(lengths: Sequence[int], on: torch.device) -> dict[str, Any]:
    """Where the samples of a packed row begin and end, as arguments of a model's forward pass.

    Args:
        lengths: tokens of each sample, in the row's order.

    Returns:
        `cu_seq_lens_q` and `cu_seq_lens_k`, int32 of (samples + 1,), and the longest sample's tokens, by the
        names that transformers hands on to attention (`FlashAttentionKwargs`).
    """
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    ends = ends.pin_memory().to(on, non_blocking=True) if on.type == "cuda" else ends
    longest = max(lengths)
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def mask(*, attention_mask: torch.Tensor | None = None, **facts: Any) -> torch.Tensor | None:
    """The mask of `sdpa`; for a packed row none is made, and what is given in its place holds nothing.

    transformers asks for one that may not be left out, of rows without padding or cache, where positions
    begin anew within them.
    """
    whole = facts["q_length"] == facts["kv_length"] > 1 and facts["batch_size"] == 1
    if whole and attention_mask is None and not facts.get("allow_is_causal_skip", True):
        shape = _NO_MASK_MADE if facts.get("local_size") is None else _NO_WINDOW_MADE
        return torch.empty(shape, dtype=torch.bool, device=facts.get("device"))
    made: torch.Tensor | None = sdpa_mask(attention_mask=attention_mask, **facts)
    return made


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within samples where `cu_seq_lens_q` says where they begin; else that of `sdpa`.

    Args:
        query: (1, heads, tokens, width) of a packed row; `key` and `value` may have fewer heads.

    Returns:
        (1, tokens, heads, width), in the 16-bit type that was computed in.

    Raises:
        ValueError: the row is packed and nobody said where samples begin, or the model asks for what the
            kernels do not have.
    """
    in_its_place = None if attention_mask is None or query.shape[2] == 1 else attention_mask.shape
    if cu_seq_lens_q is None or max_length_q is None:
        if in_its_place in (_NO_MASK_MADE, _NO_WINDOW_MADE):
            raise ValueError("a packed row reached attention without the borders of its samples")
        usual: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return usual
    asked = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if dropout or asked:
        raise ValueError(f"variable-length attention has no {' or '.join(asked or ['dropout'])}")
    if query.dtype == torch.float32:
        kind = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
    window = kwargs.get("sliding_window")
    if in_its_place == _NO_WINDOW_MADE and not window:
        raise ValueError("the model's masks look back over a window that its layers do not tell kernels of")
    if in_its_place not in (None, _NO_MASK_MADE, _NO_WINDOW_MADE) and len(cu_seq_lens_q) > 2:
        raise ValueError("the model's layers make masks of their own, which kernels know nothing of")
    # (1, heads, tokens, width) to (tokens, heads, width): strides change, nothing is copied.
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value.to(query.dtype)))
    made: Any = varlen_attn(
        query,
        key,
        value,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(window - 1 if window else -1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return made[None], None
