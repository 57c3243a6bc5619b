"""Where samples of a packed row are not kept apart, packing is refused: measured, not guessed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, Lfm2Config, MambaConfig, MistralConfig

import tests.varlen_on_cpu  # noqa: F401
from kit.config.errors import ModelError
from kit.config.schema import Config
from kit.models.loading import load_model, load_tokenizer
from kit.models.varlen import VARLEN, borders, register
from kit.train.methods import load_for_training
from kit.train.metrics import read_metrics
from kit.train.packed import (
    attention_advice,
    attention_for,
    check_isolation,
    needs_borders,
    settle_attention,
    takes_borders,
)
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


def test_borders_keep_samples_apart_and_nothing_else_does(settings):
    """The GPU's kernels have stand-ins here; all before them is what runs on one."""
    register()
    config = settings()
    model = load_model(config.model, config.hardware, attention=VARLEN)
    tokenizer = load_tokenizer(config.model)
    kept = settle_attention(model, tokenizer, torch.float32, torch.bfloat16)
    assert kept["leak"] == 0 and kept["error"] < 0.05 and needs_borders(model)

    def one_sample(row: Row) -> Row:
        length = row["input_ids"].shape[1]
        return {**row, **borders([length], torch.device("cpu"))} if "max_length_q" in row else row

    leaks = pytest.raises(ModelError, match="see each other")
    with called_with(model, one_sample), torch.autocast("cpu", torch.bfloat16), leaks:
        check_isolation(model, tokenizer, torch.bfloat16)


def test_where_the_kernels_fail_rows_are_masked_instead(settings, prepared, tmp_path, monkeypatch, capsys):
    def missing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr("kit.train.packed.attention_for", on_cpu)
    monkeypatch.setattr("kit.models.varlen.varlen_attn", missing)
    run = train(settings("lora", packing=True, max_steps=1), tmp_path, prepared, None)
    packing = json.loads((run / "manifest.json").read_text())["packing"]
    assert packing["attention"] == "sdpa" and packing["row_tokens"] == 256
    assert "rows of up to 256 tokens" in capsys.readouterr().err


def test_dropout_of_attention_that_kernels_do_not_have_is_met_before_training(settings):
    config = settings()
    register()
    model = load_model(config.model, config.hardware, attention=VARLEN)
    for part in model.modules():
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = 0.1
    state = torch.random.get_rng_state()
    settle_attention(model, load_tokenizer(config.model), torch.float32, torch.bfloat16)
    assert not needs_borders(model) and not model.training
    assert torch.equal(torch.random.get_rng_state(), state), "what it tried draws nothing from training"


def on_cpu(config: Config) -> str | None:
    """As on a GPU that has the kernels."""
    register()
    return VARLEN if config.train.packing else None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_with_borders_learns_what_a_run_with_masks_learns(
    method, settings, prepared, tmp_path, monkeypatch
):
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: torch.bfloat16)
    config = settings(method, packing=True, per_device_train_batch_size=4, max_steps=4)
    masked = train(config, tmp_path / "masked", prepared, None)
    monkeypatch.setattr("kit.train.packed.attention_for", on_cpu)
    borders = train(config, tmp_path / "borders", prepared, None)
    packing = [json.loads((run / "manifest.json").read_text())["packing"] for run in (masked, borders)]
    assert [one["attention"] for one in packing] == ["sdpa", VARLEN]
    assert [one["row_tokens"] for one in packing] == [256, 1024]
    assert packing[1]["rows"] < packing[0]["rows"]
    losses = [
        [line["loss"] for line in read_metrics(run) if line["kind"] == "train"] for run in (masked, borders)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.01) and len(losses[0]) == 4
    assert losses[0][-1] < losses[0][0], "and something is learned"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, VARLEN),
        ({"packing": False}, None),
        ({"device": "cpu"}, None),
        ({"capability": (7, 5)}, None),
        ({"model": False}, None),
    ],
)
def test_kernels_are_asked_for_where_they_can_be_had(change, wanted, settings, monkeypatch):
    case = {"packing": True, "device": "cuda", "model": True, "capability": (8, 0), **change}
    monkeypatch.setattr("kit.train.packed.device", lambda hardware: torch.device(case["device"]))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda on: case["capability"])
    monkeypatch.setattr("kit.train.packed.takes_borders", lambda folder: case["model"])
    assert attention_for(settings("lora", packing=case["packing"])) == wanted


@pytest.mark.parametrize(
    ("architecture", "known"),
    [
        ("Qwen2", True),
        ("Qwen3", True),
        ("Llama", True),
        ("Mistral", True),
        ("Gemma3Text", True),  # heads of 256, the widest
        ("Gemma2", False),  # caps its scores
        ("Gemma4Text", False),  # some heads of 512
        ("GptOss", False),  # kernels of its own, from the Hub
        ("Doge", False),
        ("Mamba", False),
    ],
)
def test_kernels_are_not_asked_of_a_model_that_fails_with_them(architecture, known, tmp_path):
    getattr(transformers, f"{architecture}Config")().save_pretrained(tmp_path)
    assert takes_borders(tmp_path) == known
    (tmp_path / "config.json").write_text("{}")
    assert not takes_borders(tmp_path), "what is wrong with it is said when it loads"


def test_what_a_mask_takes_on_a_gpu_is_told(settings, monkeypatch):
    config = settings("lora", packing=True)
    assert attention_advice(config, "sdpa") is None, "on a CPU there is nothing else"
    monkeypatch.setattr("kit.train.packed.device", lambda hardware: torch.device("cuda"))
    assert attention_advice(config, VARLEN) is None
    config = config.model_copy(update={"model": config.model.model_copy(update={"max_length": 8192})})
    said = attention_advice(config, "sdpa")
    assert said is not None and "8,192 tokens has a mask of 64.0 MiB" in said
