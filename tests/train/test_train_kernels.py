"""What makes passes quicker changes nothing in them but rounding: LoRA in fewer kernels, layers compiled."""

import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from train_rewards import FIRST_HALF, write_rewarded
from transformers import AutoModelForCausalLM, Qwen2Config

from kit.config.errors import ModelError
from kit.train.kernels import as_loaded, fuse_lora, layers_of
from kit.train.methods import load_for_training
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


def gradients(model: Any, kind: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Loss and gradients, computed in that type; the weights stay what they are."""
    model.zero_grad()
    torch.manual_seed(1)  # of dropout
    held = {name: one.data for name, one in model.named_parameters()}
    if kind == torch.float32:
        model.float()
    ids = torch.arange(60).view(2, 30)
    with torch.autocast("cpu", kind, enabled=kind == torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    for name, one in model.named_parameters():
        one.data = held[name]
    return torch.cat(
        [loss.detach()[None], *(p.grad.flatten() for p in model.parameters() if p.grad is not None)]
    )


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_lora_in_one_kernel_rounds_no_more_than_in_several(dropout):
    model = adapted(lora_dropout=dropout)
    by_peft = gradients(model)
    exact = gradients(model, torch.float32)
    fuse_lora(model)
    fused = gradients(model)
    assert not torch.equal(fused, by_peft) and distance(fused, by_peft) < 1e-3
    assert distance(gradients(model, torch.float32), exact) < 1e-6
    assert distance(fused, exact) < 1.2 * distance(by_peft, exact)


def test_four_bits_beneath_it_change_nothing_of_that(settings):
    config = settings("qlora")
    model = load_for_training(config).train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.05
    by_peft = gradients(model)
    fuse_lora(model)
    assert 0 < distance(gradients(model), by_peft) < 1e-2


def test_without_autocast_the_model_works_as_peft_has_it():
    model = adapted()
    ids = torch.arange(10)[None]
    with torch.no_grad():
        wanted = model(input_ids=ids).logits
    fuse_lora(model)
    with as_loaded(model), torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, wanted)
    fused = [one for one in model.modules() if "forward" in one.__dict__]
    assert len(fused) == 6, "and is fused again behind that"
    with model.disable_adapter(), torch.no_grad():
        alone = model(input_ids=ids).logits
    assert not torch.equal(alone, wanted)
    assert model.get_base_model().model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("variant", [{"use_dora": True}, {"lora_bias": True}])
def test_what_is_more_than_lora_stays_with_peft(variant):
    model = adapted(**variant)
    fuse_lora(model)
    assert not [one for one in model.modules() if "forward" in one.__dict__]


def test_layers_are_found_beneath_an_adapter():
    model = adapted()
    assert layers_of(model) == list(model.get_base_model().model.layers)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[bool, bool]]]:
    """Layers go through torch's compiler up to where it would write code, which takes a minute on a CPU; of
    each graph whether it has gradients, and whether it is of answers that are drawn."""
    found: list[tuple[bool, bool]] = []

    def backend(graph: Any, inputs: Any) -> Any:
        drawn = any(frame.name == "generate" for frame in traceback.extract_stack())
        found.append((torch.is_grad_enabled(), drawn))
        return graph.forward

    def compile_without_code(layer: torch.nn.Module, **how: Any) -> None:
        layer._compiled_call_impl = torch.compile(layer._call_impl, backend=backend, **how)

    torch._dynamo.reset()
    monkeypatch.setattr("torch.nn.Module.compile", compile_without_code)
    yield found
    torch._dynamo.reset()


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run(settings, prepared, tmp_path, graphs):
    few = {"max_steps": 4, "eval_steps": 2, "save_steps": 2}
    plain = train(settings("lora", **few), tmp_path / "plain", prepared, lambda model, tokenizer: 1.0)
    assert not graphs
    run = train(
        settings("lora", torch_compile=True, **few), tmp_path / "run", prepared, lambda model, tokenizer: 1.0
    )
    assert graphs and all(graded for graded, _ in graphs), "compiled in training, and in nothing else"
    kept = ("loss", "eval_loss", "grad_norm")
    lines = [[{name: line.get(name) for name in kept} for line in read_metrics(one)] for one in (plain, run)]
    assert lines[0] == lines[1] and len(lines[0]) > 4


@pytest.mark.slow
def test_answers_that_grpo_draws_leave_the_compiler_to_training(settings, tmp_path, graphs):
    """Their cache is another one in every layer: eight graphs of it, and torch compiles no more."""
    asked = write_rewarded(tmp_path / "asked", train=4, valid=2)
    own = {"num_generations": 2, "max_completion_length": 3}
    config = settings("lora", stage="grpo", grpo=own, torch_compile=True, max_steps=1)
    train(config, tmp_path, asked, None, rewards=[FIRST_HALF])
    assert any(graded for graded, _ in graphs)
    assert not any(drawn for _, drawn in graphs)


@pytest.mark.slow
def test_layers_that_cannot_be_compiled_are_told_with_the_setting(settings, prepared, tmp_path, monkeypatch):
    def backend(graph: Any, inputs: Any) -> Any:
        raise OSError("No working C++ compiler found")

    def compile_without(layer: torch.nn.Module, **how: Any) -> None:
        layer._compiled_call_impl = torch.compile(layer._call_impl, backend=backend, **how)

    monkeypatch.setattr("torch.nn.Module.compile", compile_without)
    with pytest.raises(ModelError, match=r"train\.torch_compile.*No working C") as caught:
        train(settings("lora", torch_compile=True, max_steps=1), tmp_path, prepared, None)
    assert caught.value.exit_code == 2
