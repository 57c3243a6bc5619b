"""Starting weights that copy: the induction circuit, put in place instead of waited for.

A model that answers "Your order JK-2120 …" must repeat what it read. Transformers do that with two heads
(Olsson et al. 2022, In-context Learning and Induction Heads): one in the first layer tells each place
which token stood before it, one in the second looks for the place whose *previous* token is the current
one, and repeats what stands there. They form late in training, and tiny trains for a minute or two. So
its weights are drawn with both heads already there (structure instead of noise, as in Trockman and Kolter
2023, Mimetic Initialization of Self-Attention Layers); pretraining then learns when to use them.
"""

from typing import Any

_NEIGHBOUR_SHARPNESS = 2.5
"""Scale of queries and keys that look one place back: the neighbour gets nearly all the attention."""
_MATCH_SHARPNESS = 1.6
"""Scale of queries and keys that compare tokens."""
_QUERY_KEY_SCALE = 5.0
"""Queries and keys are normalised, so their weights' size changes no output; it makes steps smaller."""
_NEIGHBOUR_BIAS = 20.0
_EMBEDDING_SCALE = 4.0
"""Large embeddings outlast the first steps, which push all of them the same way."""
_FASTEST = 3
"""Rotary frequencies that tell neighbours apart."""
_SLOW_ENOUGH = 0.006
"""Radians a place: frequencies below hardly turn over the length of a dialogue, so they carry content."""


def start_copying(model: Any, seed: int) -> None:
    """Write the two heads into the first heads of layers 0 and 1 of a random `Qwen3ForCausalLM`.

    Everything else keeps its random weights, but writes nothing into the residual stream yet: output
    projections start at zero, as is usual for residual branches.

    Args:
        model: with at least two layers, `attention_bias` and at least `4 * head_dim` hidden units.
        seed: of the random subspaces that the heads read and write.
    """
    import torch

    config = model.config
    width, head = config.hidden_size, config.head_dim
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    # Three subspaces of the residual stream: a token, the token before it, the token to be copied.
    token, before, copied = directions[:head], directions[head : 2 * head], directions[2 * head : 3 * head]
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, head, 2) / head)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(_EMBEDDING_SCALE)
        model.model.norm.weight.div_(_EMBEDDING_SCALE)  # so that logits keep their size
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        first, second = (model.model.layers[index].self_attn for index in (0, 1))
        _look_one_back(first, frequencies)
        _carry(first, token, before)
        _match(second, frequencies, token, before)
        _carry(second, copied, copied)


def _look_one_back(attention: Any, frequencies: Any) -> None:
    """Constant query and key whose rotations agree where the key stands one place before the query."""
    import torch

    half = len(frequencies)
    fast = torch.arange(_FASTEST)
    turned = frequencies[:_FASTEST]
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[: 2 * half].mul_(0.1)
    attention.q_proj.bias[fast] = _NEIGHBOUR_BIAS
    attention.k_proj.bias[fast] = _NEIGHBOUR_BIAS * torch.cos(turned)
    attention.k_proj.bias[fast + half] = _NEIGHBOUR_BIAS * torch.sin(turned)
    used = torch.cat([fast, fast + half])
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[used] = _NEIGHBOUR_SHARPNESS


def _match(attention: Any, frequencies: Any, token: Any, before: Any) -> None:
    """Query: this token. Key: the token before. Both in the dimensions that rotate slowly."""
    import torch

    half = len(frequencies)
    slow = torch.nonzero(frequencies < _SLOW_ENOUGH).flatten()
    used = torch.cat([slow, slow + half])
    for projection, subspace in ((attention.q_proj, token), (attention.k_proj, before)):
        projection.weight[: 2 * half].mul_(0.1)
        projection.weight[used] = _QUERY_KEY_SCALE * subspace[: len(used)]
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(_MATCH_SHARPNESS)


def _carry(attention: Any, read: Any, write: Any) -> None:
    """The first head reads one subspace of what it attends to and writes it into another."""
    head = len(read)
    attention.v_proj.weight[:head] = read
    attention.o_proj.weight[:, :head] = write.T
