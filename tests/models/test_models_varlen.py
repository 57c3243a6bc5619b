"""Attention of packed rows by their borders: what it gives, what it refuses, and the usual way beside it."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen2MoeConfig,
)

import tests.varlen_on_cpu  # noqa: F401
from kit.models.varlen import VARLEN, attention, borders, register
from kit.train.kernels import as_loaded, compile_layers
from kit.train.methods import freeze_all_but_last
from kit.train.packed import packed_row

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
LENGTHS = (7, 1, 12, 3)
KINDS = {
    "qwen2": Qwen2Config(**SHAPE),
    "llama": LlamaConfig(**SHAPE),
    "mistral, a window of 4": MistralConfig(**SHAPE, sliding_window=4),
    "gemma 3, windows in some layers": Gemma3TextConfig(
        **SHAPE, sliding_window=4, layer_types=["sliding_attention", "full_attention"]
    ),
}


def models(config: Any) -> tuple[Any, Any]:
    """The same weights with masks, and with borders."""
    register()
    torch.manual_seed(0)
    masked, varlen = (
        AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=name).train()
        for name in ("sdpa", VARLEN)
    )
    varlen.load_state_dict(masked.state_dict())
    return masked, varlen


def row(with_borders: bool, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    samples = [(torch.randint(0, 97, (length,), generator=draw),) * 2 for length in lengths]
    return packed_row(samples, with_borders)


def loss_and_gradients(model: Any, row: dict[str, Any]) -> torch.Tensor:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**row, use_cache=False).loss
    loss.backward()
    return torch.cat(
        [loss.detach()[None], *(one.grad.flatten() for one in model.parameters() if one.grad is not None)]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_borders_give_the_loss_and_gradients_that_masks_give(kind):
    masked, varlen = models(KINDS[kind])
    wanted = loss_and_gradients(masked, row(False))
    found = loss_and_gradients(varlen, row(True))
    assert (found - wanted).norm() / wanted.norm() < 0.01, "bfloat16 rounds to 0.004"
    leaking = loss_and_gradients(varlen, row(False, (2, 7)) | borders((5, 4), torch.device("cpu")))
    apart = loss_and_gradients(varlen, row(True, (2, 7)))
    assert (leaking - apart).norm() / apart.norm() > 0.1, "other borders, other attention"


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_not_packed_take_the_usual_way(kind):
    masked, varlen = (model.eval() for model in models(KINDS[kind]))
    ids = torch.randint(0, 97, (2, 9), generator=torch.Generator().manual_seed(2))
    seen = torch.ones_like(ids)
    seen[0, :4] = 0
    given = {"input_ids": ids, "attention_mask": seen}
    assert torch.equal(masked(**given).logits, varlen(**given).logits)
    asked = {**given, "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(masked.generate(**asked), varlen.generate(**asked))


def test_a_packed_row_without_borders_is_refused():
    _, varlen = models(KINDS["qwen2"])
    with pytest.raises(ValueError, match="without the borders"):
        varlen(**row(False), use_cache=False)


def test_a_window_that_masks_alone_know_of_is_refused():
    """Qwen2-MoE's layers hand none on: kernels would look back over everything, and nothing would say so."""
    config = Qwen2MoeConfig(
        **SHAPE,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=["full_attention", "sliding_attention"],
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
    )
    _, varlen = models(config)
    with pytest.raises(ValueError, match="a window that its layers do not tell"):
        loss_and_gradients(varlen, row(True))


def test_a_mask_that_layers_make_is_refused_and_one_samples_own_is_not():
    states = torch.zeros(1, 2, 5, 8, dtype=torch.bfloat16)
    made = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    with pytest.raises(ValueError, match="masks of their own"):
        attention(torch.nn.Identity(), states, states, states, made, **borders((3, 2), states.device))
    attention(torch.nn.Identity(), states, states, states, made, **borders((5,), states.device))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "window" in kind])
def test_one_sample_longer_than_the_window_is_a_row_like_others(kind):
    """transformers makes a mask for it, which masks read and kernels do not."""
    masked, varlen = models(KINDS[kind])
    wanted, found = (loss_and_gradients(model, row(model is varlen, (20,))) for model in (masked, varlen))
    assert (found - wanted).norm() / wanted.norm() < 0.01


@pytest.mark.parametrize(
    ("asked", "named"),
    [({"dropout": 0.1}, "dropout"), ({"softcap": 30.0}, "softcap"), ({"s_aux": 1}, "s_aux")],
)
def test_what_the_kernels_do_not_have_is_refused(asked, named):
    states = torch.zeros(1, 2, 5, 8, dtype=torch.bfloat16)
    given = borders((5,), states.device)
    with pytest.raises(ValueError, match=named):
        attention(torch.nn.Identity(), states, states, states, None, **given, **asked)


def test_one_compilation_serves_all_layers_and_lengths(monkeypatch):
    """Compiled by the backend that compiles nothing: what is counted is how often it would have been."""
    torch._dynamo.reset()
    _, varlen = models(KINDS["qwen2"])
    rows = [row(True, lengths) for lengths in (LENGTHS, (5, 9), (20,), (2, 2, 3, 30))]
    wanted = [loss_and_gradients(varlen, one) for one in rows]
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr("torch.nn.Module.compile", lambda layer, **how: compile_with(layer, backend, how))
    compile_layers(varlen)
    assert all(map(torch.equal, [loss_and_gradients(varlen, one) for one in rows], wanted))
    assert 1 <= len(graphs) <= 2, "at most again where the first length turns out to be no constant"
    before = len(graphs)
    with as_loaded(varlen):
        loss_and_gradients(varlen, rows[0])
    assert len(graphs) == before


def test_layers_of_two_kinds_half_of_them_frozen_are_all_compiled(monkeypatch):
    """Torch's own limit is reached by these, and what is met after it would run as it is written."""
    torch._dynamo.reset()
    config = deepcopy(KINDS["gemma 3, windows in some layers"])
    config.num_hidden_layers, config.layer_types = 8, ["sliding_attention", "full_attention"] * 4
    _, varlen = models(config)
    freeze_all_but_last(varlen, 4)
    rows = [row(True, lengths) for lengths in (LENGTHS, (5, 9), (20,))]
    wanted = [loss_and_gradients(varlen, one) for one in rows]
    nothing = lambda graph, inputs: graph.forward  # noqa: E731
    monkeypatch.setattr("torch.nn.Module.compile", lambda layer, **how: compile_with(layer, nothing, how))
    # Torch's own patch: pytest's would leave settings deleted, for whichever test comes next.
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=True):
        compile_layers(varlen)
        assert all(map(torch.equal, [loss_and_gradients(varlen, one) for one in rows], wanted))


def compile_with(layer: torch.nn.Module, backend: Any, how: dict[str, Any]) -> None:
    layer._compiled_call_impl = torch.compile(layer._call_impl, backend=backend, **how)
