"""What each method trains, leaves and gives back, as far as it is more than a loss that falls."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from train_world import losses_of, weights_of, write_base
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, MistralConfig, Phi3Config

from kit.config.errors import ConfigError, ModelError
from kit.config.schema import Config, Sampling
from kit.evaluate.generate import generate, padded
from kit.evaluate.prompts import Prompt
from kit.models.loading import load_base, load_model, load_tokenizer, load_tuned
from kit.train.adapters import add_adapter, loraplus_optimizer
from kit.train.methods import freeze_all_but_last, load_for_training
from kit.train.packed import check_isolation
from kit.train.stages import train

pytestmark = pytest.mark.slow

PISSA = {"name": "lora", "init_lora_weights": "pissa", "rank": 4}
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora"},
    "rslora": {"name": "lora", "use_rslora": True},
    "dora": {"name": "lora", "use_dora": True},
    "pissa": PISSA,
    "pissa, rslora": {**PISSA, "use_rslora": True},
    "ia3": {"name": "ia3"},
    "oft": {"name": "oft"},
    "adapter": {"name": "adapter", "bottleneck_size": 16},
    "prefix": {"name": "prefix", "num_virtual_tokens": 4},
    "prompt": {"name": "prompt", "num_virtual_tokens": 4},
    "qlora": {"name": "qlora"},
    "qdora": {"name": "qlora", "use_dora": True},
    "loftq": {"name": "qlora", "init_lora_weights": "loftq"},
}
MERGED = [name for name in ADAPTERS if name not in ("adapter", "prefix", "prompt", "qlora", "qdora", "loftq")]
RATES = {"prefix": 0.1, "prompt": 0.1, "ia3": 0.1}
IDS = torch.arange(20)[None] + 5


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of three layers, whose output head is its embedding."""
    return write_base(tmp_path_factory.mktemp("deep"), num_hidden_layers=3)


@pytest.fixture
def made(settings: Callable[..., Config]) -> Callable[..., Config]:
    """Settings with everything that stands under `method`."""

    def make(method: dict[str, Any], base: Path | None = None, dtype: str = "auto", **own: Any) -> Config:
        tree = settings(**{"learning_rate": RATES.get(method["name"], 1e-2), **own}).model_dump(mode="json")
        model = {"dtype": dtype, **({"name": str(base)} if base else {})}
        return Config.model_validate({**tree, "method": method, "model": {**tree["model"], **model}})

    return make


def seen(model: Any) -> torch.Tensor:
    """The logits of a row, those of virtual tokens left out."""
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits[0, -IDS.shape[1] :].float()


def moved(model: Any, by: float = 0.05) -> Any:
    """The model with everything it trains moved, as if it had learned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += by * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float32") for name in ADAPTERS]
    + [(name, "bfloat16") for name in ("dora", "pissa", "ia3", "oft", "adapter", "prefix", "prompt")],
)
def test_what_was_trained_is_what_loads_and_switched_off_it_is_the_base(
    name, dtype, made, prepared, tmp_path, exact_arithmetic
):
    config = made(ADAPTERS[name], dtype=dtype, max_steps=3)
    last: list[torch.Tensor] = []

    def note(model: Any, tokenizer: Any) -> float:
        last.append(seen(model))
        return float(len(last))  # later is better, so that golden is the last

    run = train(config, tmp_path, prepared, note)
    tuned, base = load_tuned(run / "golden", config), load_base(config)
    allowed = 1e-6
    if "pissa" in name:  # in 16 bits what is left of the base was rounded while training, the base is not
        allowed = {"float32": 2e-5, "bfloat16": 0.05}[dtype]
    if config.method.name == "qlora":  # but in training, some CPUs multiply 4-bit weights in bfloat16
        allowed = 0.01
    assert (seen(tuned) - last[-1]).abs().max() <= allowed * seen(base).abs().max()
    assert (seen(tuned) - seen(base)).abs().max() > 0.05, "it learned nothing"
    with tuned.disable_adapter():
        assert torch.equal(seen(tuned), seen(base))
    assert {path.name for path in (run / "golden").glob("*.safetensors")} == {"adapter_model.safetensors"}


@pytest.mark.parametrize(("dtype", "allowed"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize("name", MERGED)
def test_merged_weights_answer_as_the_adapter_does(name, dtype, allowed, made):
    model = moved(load_for_training(made(ADAPTERS[name], dtype=dtype)), by=0.2 if name == "ia3" else 0.05)
    apart = seen(model)
    with model.disable_adapter():
        assert (seen(model) - apart).abs().max() > 0.1
    assert (seen(model.merge_and_unload()) - apart).abs().max() <= allowed * apart.abs().max()


class Interruption:
    """A task score that presses Ctrl-C at its n-th question."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, model: object, tokenizer: object) -> float:
        import os
        import signal

        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5


RESUMED = {
    **{name: ADAPTERS[name] for name in ("ia3", "oft", "adapter", "prefix", "prompt", "loftq")},
    "freeze": {"name": "freeze", "num_trainable_layers": 1},
    "loraplus": {"name": "lora", "loraplus_lr_ratio": 4.0, "dropout": 0.1},
    "pissa_niter": {**PISSA, "init_lora_weights": "pissa_niter_16"},
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_continued_run_equals_an_unbroken_one_bit_for_bit(name, made, prepared, tmp_path):
    config = made(RESUMED[name], max_steps=4, eval_steps=2, save_steps=100)
    unbroken = train(config, tmp_path / "a", prepared, Interruption(at=99))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "b", prepared, Interruption(at=1))
    (run,) = (tmp_path / "b" / "runs").iterdir()
    train(config, tmp_path / "b", prepared, Interruption(at=99), resume=run)
    manifest = json.loads((run / "manifest.json").read_text())
    assert [session["from_step"] for session in manifest["sessions"]] == [0, 2]
    for folder in ("checkpoints/checkpoint-4", "golden"):
        assert weights_of(run, folder) == weights_of(unbroken, folder)
    assert losses_of(run) == losses_of(unbroken)


def test_freeze_trains_the_last_layers_and_the_norm_behind_them(deep, made, prepared, tmp_path):
    config = made({"name": "freeze", "num_trainable_layers": 2}, base=deep, max_steps=2)
    before = load_model(config.model, config.hardware).state_dict()
    run = train(config, tmp_path, prepared, None)
    after = load_tuned(run / "golden", config).state_dict()
    changed = {name for name, weight in after.items() if not weight.equal(before[name])}
    trained = {name for name in before if name.startswith(("model.layers.1.", "model.layers.2."))}
    assert changed == trained | {"model.norm.weight"}, "and the head, which is the embedding, stays"


def test_freeze_refuses_more_layers_than_there_are(deep, made):
    with pytest.raises(ConfigError, match=r"4 of the last layers .* and the model has 3") as caught:
        load_for_training(made({"name": "freeze", "num_trainable_layers": 4}, base=deep))
    assert caught.value.problems[0].where == "method.num_trainable_layers"


SHAPE = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
OTHERS = {
    "llama": LlamaConfig(**SHAPE, num_key_value_heads=1, tie_word_embeddings=False),
    "neox": GPTNeoXConfig(**SHAPE),
    "phi3": Phi3Config(**SHAPE, num_key_value_heads=2, pad_token_id=0),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_freeze_knows_other_architectures(kind):
    torch.manual_seed(0)
    model = freeze_all_but_last(AutoModelForCausalLM.from_config(OTHERS[kind]), 1)
    trained = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.requires_grad}
    outside = {name for name in trained if ".layers.1." not in name}
    assert outside == {"gpt_neox.final_layer_norm" if kind == "neox" else "model.norm"}


def test_ia3_scales_keys_values_and_what_enters_the_last_layer_of_the_feed_forward_part(made):
    model = load_for_training(made({"name": "ia3"}))
    scales = {name.split(".")[-3]: p for name, p in model.named_parameters() if p.requires_grad}
    shapes = {layer: tuple(scale.shape) for layer, scale in scales.items()}
    assert shapes == {"k_proj": (32, 1), "v_proj": (32, 1), "down_proj": (1, 128)}


def test_ia3_refuses_a_model_whose_layers_it_does_not_know():
    base = AutoModelForCausalLM.from_config(OTHERS["phi3"])
    with pytest.raises(ConfigError, match="`ia3` does not know the layers of a phi3") as caught:
        add_adapter(base, Config.model_validate({"method": "ia3"}))
    assert caught.value.exit_code == 2 and "use lora" in str(caught.value)


def test_oft_rotates_in_blocks_of_the_size_that_was_asked_for(made):
    model = load_for_training(made({"name": "oft", "oft_block_size": 16}))
    blocks = {tuple(p.shape) for p in model.parameters() if p.requires_grad}
    assert blocks == {(4, 120), (8, 120)}, "4 or 8 blocks, each of 16 * 15 / 2 angles"
    with pytest.raises(ConfigError, match=r"24 does not divide the width .*64, 128") as e:
        load_for_training(made({"name": "oft", "oft_block_size": 24}))
    assert e.value.problems[0].where == "method.oft_block_size"


def test_loraplus_trains_the_matrices_b_faster(made):
    from kit.train.setup import training_arguments

    config = made({"name": "lora", "loraplus_lr_ratio": 16.0}, weight_decay=0.1)
    model = load_for_training(config)
    groups = loraplus_optimizer(
        model, training_arguments(config, Path("run"), None, False), config
    ).param_groups
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    assert {rate for name, rate in named.items() if "lora_A" in name} == {(1e-2, 0.1)}
    assert {rate for name, rate in named.items() if "lora_B" in name} == {(1e-2 * 16, 0.1)}
    assert {group["betas"] for group in groups} == {(0.9, 0.999)}


def test_a_run_with_loraplus_is_trained_by_it(made, prepared, tmp_path):
    ratios = [{}, {"loraplus_lr_ratio": 1.0}, {"loraplus_lr_ratio": 8.0}]
    plain, equal, plus = (
        train(made({"name": "lora", **ratio}, max_steps=3), tmp_path / str(n), prepared, None)
        for n, ratio in enumerate(ratios)
    )
    assert losses_of(equal) == losses_of(plain) and weights_of(equal) == weights_of(plain)
    assert losses_of(plus)[0] == losses_of(plain)[0] and losses_of(plus)[2] < losses_of(plain)[2]


def as_it_stands(layer: Any) -> torch.Tensor:
    """The weight of a 4-bit layer, its adapter added."""
    held = layer.get_base_layer().weight
    return dequantize_4bit(held.data, held.quant_state).float() + layer.get_delta_weight("default")


@pytest.mark.parametrize("scale", [{}, {"alpha": 4}, {"use_rslora": True}])
def test_loftq_begins_nearer_to_the_base_than_four_bits_are(scale, made):
    loftq = {"name": "qlora", "init_lora_weights": "loftq", "rank": 16, **scale}
    whole = load_model(made({"name": "lora"}).model, made({"name": "lora"}).hardware)
    lost = {}
    for method in ({"name": "qlora", "rank": 16}, loftq):
        begun = load_for_training(made(method)).get_base_model()
        lost[method.get("init_lora_weights")] = sum(
            float((whole.get_submodule(name).weight - as_it_stands(layer)).detach().square().sum())
            for name, layer in begun.named_modules()
            if hasattr(layer, "lora_A")
        )
    assert 0 < lost["loftq"] < 0.75 * lost[None]


def test_loftq_reads_bases_in_several_files_and_names_a_weight_that_is_missing(deep, made, tmp_path):
    from kit.train.loftq import read_weight, weight_files

    model = load_model(made({"name": "lora"}, base=deep).model, made({"name": "lora"}).hardware)
    model.save_pretrained(tmp_path / "parts", max_shard_size="60KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    name = "model.layers.2.mlp.down_proj.weight"
    files = weight_files(tmp_path / "parts")
    assert read_weight(files, tmp_path / "parts", name).equal(model.state_dict()[name])
    assert read_weight(weight_files(deep), deep, name).equal(model.state_dict()[name])
    with pytest.raises(ConfigError, match=r"needs 'lm_tail\.weight'"):
        read_weight(files, tmp_path / "parts", "lm_tail.weight")


@pytest.mark.parametrize("name", ["prefix", "prompt"])
@pytest.mark.parametrize("kind", ["base", *OTHERS])
def test_padding_does_not_move_a_row_away_from_its_virtual_tokens(name, kind, made):
    config = made(ADAPTERS[name])
    torch.manual_seed(0)
    if kind == "base":
        model = load_for_training(config)
    else:
        model = add_adapter(AutoModelForCausalLM.from_config(OTHERS[kind]), config)
    moved(model, by=1.0)
    rows = [list(range(10, 31)), [40, 41, 42]]
    ids, mask = padded(rows, 0, torch.device("cpu"))
    with torch.no_grad():
        together = model(input_ids=ids, attention_mask=mask).logits[:, -1]
        alone = [model(torch.tensor([row]), torch.ones(1, len(row))).logits[0, -1] for row in rows]
        assert (alone[1] - model.get_base_model()(torch.tensor([rows[1]])).logits[0, -1]).abs().max() > 1e-2
    for one, row in zip(together, alone, strict=True):
        assert (one - row).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["prefix", "prompt"])
def test_an_answer_does_not_depend_on_the_batch_it_is_drawn_in(name, made, prepared, tmp_path):
    config = made(ADAPTERS[name], num_train_epochs=2)
    run = train(config, tmp_path, prepared, None)
    tuned, tokenizer = load_tuned(run / "golden", config), load_tokenizer(config.model)
    asked = [
        Prompt(str(n), [{"role": "user", "content": "Where is it? " * n}], {}, {}, str(n)) for n in (1, 4, 9)
    ]

    def answers(size: int) -> list[str]:
        made = generate(
            tuned,
            tokenizer,
            asked,
            decoding="greedy",
            max_new_tokens=12,
            batch_size=size,
            seed=1,
            sampling=Sampling(),
        )
        return [one.output for one in made]

    assert answers(1) == answers(3)
    # Token by token, without a cache, as in training.
    row = asked[0].ids(tokenizer)
    for _ in range(4):
        with torch.no_grad():
            row = [*row, int(tuned(torch.tensor([row])).logits[0, -1].argmax())]
    written = tokenizer.decode(row[len(asked[0].ids(tokenizer)) :], skip_special_tokens=True).strip()
    assert answers(1)[0].startswith(written)


def test_virtual_tokens_that_a_layer_would_lose_sight_of_are_refused():
    config = Config.model_validate({"method": "prompt", "model": {"max_length": 200}})
    narrow, wide = (
        MistralConfig(**SHAPE, num_key_value_heads=1, sliding_window=window) for window in (64, 4096)
    )
    with pytest.raises(ConfigError, match="looks back 64 tokens in this model") as caught:
        add_adapter(AutoModelForCausalLM.from_config(narrow), config)
    assert caught.value.problems[0].where == "method.name"
    assert add_adapter(AutoModelForCausalLM.from_config(wide), config)


def test_what_the_settings_refuse_of_virtual_tokens_does_fail(made, prepared, tmp_path):
    """Controls of the table of refusals: the settings go past `casekit config`."""
    tokenizer = load_tokenizer(made({"name": "lora"}).model)
    for name in ("prefix", "prompt"):
        model = moved(load_for_training(made(ADAPTERS[name])), by=1.0)
        with pytest.raises(ModelError, match=r"see each other|does not take packed rows|other logits"):
            check_isolation(model, tokenizer, torch.float32)
    with pytest.raises(RuntimeError):
        train(made(ADAPTERS["prefix"], gradient_checkpointing=True, max_steps=1), tmp_path, prepared, None)


def test_the_share_that_lora_trains_stands_beside_the_rule_of_thumb(made, prepared, tmp_path, capfd):
    run = train(made({"name": "lora"}, max_steps=1), tmp_path / "a", prepared, None)
    assert "rule of thumb for LoRA: under 1%" in " ".join(capfd.readouterr().err.split())
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["trainable_rule"] == {"under": 0.01, "met": False}
    run = train(made({"name": "ia3"}, max_steps=1), tmp_path / "b", prepared, None)
    assert json.loads((run / "manifest.json").read_text())["trainable_rule"] is None
    assert "rule of thumb" not in capfd.readouterr().err
