"""What makes passes quicker leaves them as they were: casts left out, layers compiled."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config

from kit.train.kernels import as_loaded, layers_of, spare_casts
from kit.train.metrics import read_metrics
from kit.train.stages import train


def adapted(**lora: Any) -> Any:
    """A base in bfloat16 with an adapter in float32, as a GPU trains them."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    base = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    targets = LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "up_proj", "down_proj"], **lora
    )
    model = get_peft_model(base, targets).train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter, dtype=torch.float32) * 0.05
    return model


def gradients(model: Any) -> torch.Tensor:
    model.zero_grad()
    ids = torch.arange(60).view(2, 30)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return torch.cat(
        [loss.detach()[None], *(p.grad.flatten() for p in model.parameters() if p.grad is not None)]
    )


def test_casts_are_spared_and_not_a_bit_changes():
    model = adapted()
    wanted = gradients(model)
    spare_casts(model)
    assert torch.equal(gradients(model), wanted)
    ids = torch.arange(10)[None]
    with pytest.raises(RuntimeError, match="same dtype"):
        model(input_ids=ids)
    with as_loaded(model), torch.no_grad():
        answer = model(input_ids=ids).logits
    with torch.no_grad():
        assert torch.equal(adapted()(input_ids=ids).logits, answer)
    with pytest.raises(RuntimeError, match="same dtype"):
        model(input_ids=ids)


def test_dora_keeps_its_casts():
    model = adapted(use_dora=True)
    spare_casts(model)
    assert model(input_ids=torch.arange(10)[None]).logits.isfinite().all()


def test_layers_are_found_beneath_an_adapter():
    model = adapted()
    assert layers_of(model) == list(model.get_base_model().model.layers)


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run(settings, prepared, tmp_path, monkeypatch):
    """Layers go through torch's compiler up to where it would write code, which takes a minute on a CPU."""
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(torch.is_grad_enabled())
        return graph.forward

    def compile_without_code(layer: torch.nn.Module, **how: Any) -> None:
        layer._compiled_call_impl = torch.compile(layer._call_impl, backend=backend, **how)

    torch._dynamo.reset()
    monkeypatch.setattr("torch.nn.Module.compile", compile_without_code)
    few = {"max_steps": 4, "eval_steps": 2, "save_steps": 2}
    plain = train(settings("lora", **few), tmp_path / "plain", prepared, lambda model, tokenizer: 1.0)
    assert not graphs
    run = train(
        settings("lora", torch_compile=True, **few), tmp_path / "run", prepared, lambda model, tokenizer: 1.0
    )
    assert graphs and all(graphs), "compiled in training, and in nothing else"
    kept = ("loss", "eval_loss", "grad_norm")
    lines = [[{name: line.get(name) for name in kept} for line in read_metrics(one)] for one in (plain, run)]
    assert lines[0] == lines[1] and len(lines[0]) > 4
