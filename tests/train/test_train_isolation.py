"""Where samples of a packed row are not kept apart, packing is refused: measured, not guessed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AutoModelForCausalLM, Lfm2Config, MambaConfig, MistralConfig

from kit.config.errors import ModelError
from kit.config.schema import Config
from kit.models.loading import load_model, load_tokenizer
from kit.train.methods import load_for_training
from kit.train.metrics import read_metrics
from kit.train.packed import attention_advice, attention_for, check_isolation, knows_flash
from kit.train.stages import train

pytestmark = pytest.mark.slow
Row = dict[str, Any]


@contextmanager
def called_with(model: Any, change: Callable[[Row], Row]) -> Iterator[Any]:
    """A model that does with its arguments as it likes."""
    hook = model.register_forward_pre_hook(lambda _, args, kwargs: (args, change(kwargs)), with_kwargs=True)
    yield model
    hook.remove()


def without_positions(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "position_ids"}


def ones_as_mask(row: Row) -> Row:
    return {**row, "attention_mask": torch.ones_like(row["input_ids"])}


def with_cache(row: Row) -> Row:
    return {**row, "use_cache": True}


def no_tokens(row: Row) -> Row:
    return {**row, "input_ids": row["input_ids"][:, :0]}


def stretched(row: Row) -> Row:
    """Samples apart, but at other positions than alone."""
    if "position_ids" not in row:
        return row
    sample = (row["position_ids"] == 0).cumsum(1)[0]
    apart = (sample[:, None] == sample) & torch.ones(len(sample), len(sample), dtype=torch.bool).tril()
    return {**row, "position_ids": row["position_ids"] * 5, "attention_mask": apart[None, None]}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_positions, "see each other in this model: other neighbours move a sample's logits by 0"),
        (ones_as_mask, "see each other in this model"),
        (with_cache, "see each other in this model"),
        (stretched, "packed samples have other logits than alone"),
        (no_tokens, "does not take packed rows"),
    ],
)
def test_a_model_that_does_not_keep_samples_apart_is_refused(change, said, dtype, settings):
    config = settings()
    model = load_model(config.model, config.hardware, weights=getattr(torch, dtype))
    tokenizer = load_tokenizer(config.model)
    assert check_isolation(model, tokenizer, model.dtype)["leak"] == 0
    with called_with(model.train(), change), pytest.raises(ModelError, match=said) as caught:
        check_isolation(model, tokenizer, model.dtype)
    (problem,) = caught.value.problems
    assert problem.where == "train.packing" and "set `train.packing: false`" in problem.hint
    assert model.training, "the measurement leaves the model as it was"


def test_a_run_with_such_a_model_is_refused_before_its_first_step(settings, prepared, tmp_path, monkeypatch):
    def stubborn(config: Config, golden: Path | None) -> Any:
        model = load_for_training(config, golden)
        model.register_forward_pre_hook(
            lambda _, args, kwargs: (args, without_positions(kwargs)), with_kwargs=True
        )
        return model

    monkeypatch.setattr("kit.train.setup.load_for_training", stubborn)
    with pytest.raises(ModelError, match="see each other") as caught:
        train(settings(packing=True), tmp_path, prepared, None)
    assert caught.value.exit_code == 2
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"
    assert read_metrics(run) == []
    assert train(settings(), tmp_path, prepared, None).is_dir(), "without packing it trains"


def test_prefixes_and_layers_with_a_state_are_refused(settings):
    """What was measured to leak in silence: prefix tuning, convolutions and linear attention."""
    from peft import PrefixTuningConfig, get_peft_model

    config = settings()
    tokenizer = load_tokenizer(config.model)
    prefix = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    convolution = Lfm2Config(**shape, layer_types=["conv", "full_attention"])
    state = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1)
    models = [
        get_peft_model(load_model(config.model, config.hardware), prefix),
        *(AutoModelForCausalLM.from_config(one) for one in (convolution, state)),
    ]
    for model in models:
        for kind in (torch.float32, torch.bfloat16):
            with pytest.raises(ModelError, match=r"see each other|does not take packed rows"):
                check_isolation(model.to(kind), tokenizer, kind)
    attention = MistralConfig(**shape, sliding_window=4)
    kept = check_isolation(AutoModelForCausalLM.from_config(attention), tokenizer, torch.float32)
    assert kept["leak"] == 0


def varlen(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> tuple[Any, None]:
    """As flash attention works: no mask; where one row is given, transformers reads borders off positions."""
    from transformers.modeling_flash_attention_utils import (
        _is_packed_sequence,
        prepare_fa_kwargs_from_position_ids,
    )

    positions, length = kwargs["position_ids"], query.shape[2]
    borders = [0, length]
    if _is_packed_sequence(positions, query.shape[0]):
        (cumulated, _), _ = prepare_fa_kwargs_from_position_ids(positions)
        borders = cumulated.tolist()
    parts = [
        scaled_dot_product_attention(
            *(states[:, :, start:end] for states in (query, key, value)), is_causal=True, enable_gqa=True
        )
        for start, end in pairwise(borders)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def test_flash_attention_is_told_the_borders(settings):
    """There is no GPU here: what its kernels would be told is told to plain attention instead."""
    AttentionInterface.register("varlen_for_tests", varlen)
    config = settings()
    model = load_model(config.model, config.hardware, attention="varlen_for_tests")
    tokenizer = load_tokenizer(config.model)
    kept = check_isolation(model, tokenizer, torch.float32)
    assert kept["leak"] == 0 and kept["error"] < 1e-5
    with called_with(model, without_positions), pytest.raises(ModelError, match="see each other"):
        check_isolation(model, tokenizer, torch.float32)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, "flash_attention_2"),
        ({"packing": False}, None),
        ({"device": "cpu"}, None),
        ({"weights": torch.float32}, None),
        ({"installed": False}, None),
        ({"capability": (7, 5)}, None),
        ({"model": False}, None),
    ],
)
def test_flash_attention_is_asked_for_where_it_can_be_had(change, wanted, settings, monkeypatch):
    usual = {"packing": True, "device": "cuda", "weights": torch.bfloat16, "installed": True, "model": True}
    case = {**usual, "capability": (8, 0), **change}
    monkeypatch.setattr("kit.train.packed.device", lambda hardware: torch.device(case["device"]))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda on: case["capability"])
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: case["installed"])
    monkeypatch.setattr("kit.train.packed.knows_flash", lambda folder: case["model"])
    assert attention_for(settings("lora", packing=case["packing"]), case["weights"]) == wanted


@pytest.mark.parametrize(
    ("architecture", "known"),
    [
        ("Qwen3", True),
        ("Llama", True),
        ("Gemma2", True),  # heads of 256, the widest
        ("Gemma4Text", False),  # some heads of 512
        ("GptOss", False),  # kernels of its own, from the Hub
        ("Doge", False),
        ("Mamba", False),
    ],
)
def test_flash_attention_is_not_asked_of_a_model_that_fails_with_it(architecture, known, tmp_path):
    getattr(transformers, f"{architecture}Config")().save_pretrained(tmp_path)
    assert knows_flash(tmp_path) == known
    (tmp_path / "config.json").write_text("{}")
    assert not knows_flash(tmp_path), "what is wrong with it is said when it loads"


def test_what_a_mask_takes_on_a_gpu_is_told(settings, monkeypatch):
    config = settings("lora", packing=True)
    assert attention_advice(config, "sdpa") is None, "on a CPU there is nothing else"
    monkeypatch.setattr("kit.train.packed.device", lambda hardware: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda on: (8, 0))
    assert attention_advice(config, "flash_attention_2") is None
    config = config.model_copy(update={"model": config.model.model_copy(update={"max_length": 8192})})
    said = attention_advice(config, "sdpa")
    assert said is not None and "8,192 tokens has a mask of 64.0 MiB" in said and "flash-attn" in said
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda on: (7, 5))
    said = attention_advice(config, "sdpa")
    assert said is not None and "64.0 MiB" in said and "flash" not in said, "it would not run there"
