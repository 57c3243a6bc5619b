"""torch's variable-length attention with kernels for a CPU, plain attention sample by sample, so that
everything up to a GPU's kernels can be run without one. Importing this registers them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch.nn.attention import varlen

States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def samples(borders: torch.Tensor, window: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Each sample's tokens, and which sees which: none that is later, at most `window` back (-1: all)."""
    for start, end in pairwise(borders.tolist()):
        at = torch.arange(end - start)
        back = at[:, None] - at[None]
        yield slice(start, end), (back >= 0) & ((back <= window) if window >= 0 else True)


def weights(query: torch.Tensor, key: torch.Tensor, seen: torch.Tensor, scale: float) -> torch.Tensor:
    """(heads, tokens, tokens) of (heads, tokens, width)."""
    scores = (query @ key.transpose(1, 2) * scale).masked_fill(~seen, -torch.inf)
    return scores.softmax(-1)


def of_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(tokens, fewer heads, width) as (heads, tokens, width) in float32."""
    return states.transpose(0, 1).float().repeat_interleave(heads // states.shape[1], 0)


def forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    scale: float | None = None,
    window_size: list[int] | None = None,
    *_: Any,
) -> States:
    """As the GPU's kernel: 16 bits, the longest sample no longer than was said, nothing before a sample."""
    assert query.dtype == key.dtype == value.dtype == torch.bfloat16, "kernels are of 16 bits"
    assert cu_seq_q.dtype == torch.int32 and int(cu_seq_q.diff().max()) == max_q == max_k
    assert int(cu_seq_q[0]) == 0 and int(cu_seq_q[-1]) == len(query)
    assert window_size is not None and window_size[1] == 0, "no token sees one that comes after it"
    made, heads = torch.empty_like(query), query.shape[1]
    for part, seen in samples(cu_seq_q, window_size[0]):
        q, k, v = (of_heads(one[part], heads) for one in (query, key, value))
        made[part] = (weights(q, k, seen, scale or 1.0) @ v).transpose(0, 1).to(made.dtype)
    return made, torch.empty(heads, len(query)), torch.zeros(2, dtype=torch.uint64)


def backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    is_causal: bool,
    rng_state: torch.Tensor,
    scale: float | None = None,
    window_size: list[int] | None = None,
) -> States:
    """The gradients, the weights computed again; keys and values that several heads share get the sum."""
    heads, scale = query.shape[1], scale or 1.0
    found = tuple(torch.empty_like(one) for one in (query, key, value))
    for part, seen in samples(cu_seq_q, (window_size or [-1])[0]):
        q, k, v, out_grad = (of_heads(one[part], heads) for one in (query, key, value, grad))
        p = weights(q, k, seen, scale)
        of_p = out_grad @ v.transpose(1, 2)
        of_scores = p * (of_p - (of_p * p).sum(-1, keepdim=True)) * scale
        of_q, of_k, of_v = of_scores @ k, of_scores.transpose(1, 2) @ q, p.transpose(1, 2) @ out_grad
        for into, one in zip(found, (of_q, of_k, of_v), strict=True):
            width = into.shape[1]
            into[part] = one.unflatten(0, (width, heads // width)).sum(1).transpose(0, 1).to(into.dtype)
    return found[0], found[1], found[2]


def _on_cpu(op: Any, kernel: Callable[..., Any]) -> None:
    op.register_kernel("cpu")(kernel)


_on_cpu(varlen._varlen_attn, forward)
_on_cpu(varlen._varlen_attn_backward, backward)
