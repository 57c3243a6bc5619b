"""Bottleneck adapters: what they compute, where they stand, and that PEFT treats them as its own methods."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from torch.nn.functional import gelu
from train_project import loaded
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MixtralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2MoeConfig,
)

from kit.config.errors import ConfigError
from kit.config.schema import Config
from kit.models.bottleneck import PEFT_TYPE
from kit.models.loading import load_model, load_tuned
from kit.train.adapters import add_adapter
from kit.train.methods import load_for_training, parameter_counts

pytestmark = pytest.mark.slow

IDS = torch.arange(20)[None] + 5
WIDTH, SIZE = 64, 8
SHAPE = {
    "vocab_size": 128,
    "hidden_size": WIDTH,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
OLD = {"vocab_size": 128, "n_layer": 2, "n_head": 2}
KNOWN = {
    "llama": LlamaConfig(**SHAPE),
    "phi3": Phi3Config(**SHAPE, pad_token_id=0),
    "neox": GPTNeoXConfig(**SHAPE),
    "falcon": FalconConfig(**SHAPE),
    "bloom": BloomConfig(**OLD, hidden_size=WIDTH),
    "phi": PhiConfig(**SHAPE),
    "opt": OPTConfig(**SHAPE, ffn_dim=128, word_embed_proj_dim=WIDTH),
}
UNKNOWN = {
    "gpt2": GPT2Config(**OLD, n_embd=WIDTH),  # its projections are convolutions
    "mixtral": MixtralConfig(**SHAPE, num_local_experts=2),  # and a mixture's are in its experts
    "qwen2_moe": Qwen2MoeConfig(  # of which one that all tokens share has the same name
        **SHAPE, num_experts=2, num_experts_per_tok=1, shared_expert_intermediate_size=32
    ),
}


@pytest.fixture
def made(settings: Callable[..., Config]) -> Callable[..., Config]:
    """Settings of the method, with what stands under `method`."""

    def make(**own: Any) -> Config:
        tree = settings().model_dump(mode="json")
        return Config.model_validate({**tree, "method": {"name": "adapter", "bottleneck_size": SIZE, **own}})

    return make


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def moved(model: Any) -> Any:
    """The model with everything it trains moved, as if it had learned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def parts(model: Any) -> dict[str, dict[str, torch.Tensor]]:
    """What is trained, by the projection that it stands behind."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in model.get_base_model().named_parameters():
        if parameter.requires_grad:
            place, kind = name.split(".bottleneck_")
            found.setdefault(place, {})[kind.replace(".default", "")] = parameter.detach()
    return found


@pytest.mark.parametrize(("placement", "ends"), [("houlsby", 2), ("pfeiffer", 1)])
def test_the_first_step_begins_at_the_base_and_the_share_is_counted(placement, ends, made):
    config = made(bottleneck_placement=placement)
    base = load_model(config.model, config.hardware)
    model = load_for_training(config)
    assert torch.equal(logits(model), logits(base))
    trained, total = parameter_counts(model)
    each = 2 * WIDTH * SIZE + WIDTH + SIZE  # section 2.1 of the paper: 2md + d + m
    assert (trained, total) == (ends * each, ends * each + parameter_counts(base)[1])
    assert {name.rsplit(".", 1)[-1] for name in parts(model)} == {"down_proj", "o_proj"} - (
        {"o_proj"} if placement == "pfeiffer" else set()
    )
    assert {weight.dtype for part in parts(model).values() for weight in part.values()} == {torch.float32}


def test_each_adds_up_of_gelu_of_down_to_what_its_projection_gives(made):
    config = made()
    model, base = moved(load_for_training(config)), load_model(config.model, config.hardware)
    assert len(parts(model)) == 2
    for name, part in parts(model).items():

        def add(module: Any, args: Any, h: torch.Tensor, part: dict[str, torch.Tensor] = part) -> Any:
            narrow = h @ part["down.weight"].T + part["down.bias"]
            return h + gelu(narrow) @ part["up.weight"].T + part["up.bias"]

        base.get_submodule(name).register_forward_hook(add)
    assert (logits(model) - logits(base)).abs().max() < 1e-5
    with model.disable_adapter():
        assert (logits(model) - logits(base)).abs().max() > 0.05


@pytest.mark.parametrize("kind", KNOWN)
def test_it_knows_the_layers_of_other_architectures(kind, made):
    base = AutoModelForCausalLM.from_config(KNOWN[kind])
    before = logits(base)
    model = add_adapter(base, made())
    assert torch.equal(logits(model), before)
    assert len(parts(model)) == 4, "two in each of two layers"
    assert (logits(moved(model)) - before).abs().max() > 1e-3


@pytest.mark.parametrize("kind", UNKNOWN)
def test_it_refuses_a_model_whose_layers_it_does_not_know(kind, made):
    with pytest.raises(ConfigError, match=f"`adapter` does not know the layers of a {kind}") as caught:
        add_adapter(AutoModelForCausalLM.from_config(UNKNOWN[kind]), made())
    assert caught.value.exit_code == 2 and "named o_proj and down_proj" in str(caught.value)


def test_one_that_is_wider_than_the_model_is_refused(made):
    with pytest.raises(ConfigError, match=f"is {WIDTH + 1}, and the model's hidden size is {WIDTH}"):
        load_for_training(made(bottleneck_size=WIDTH + 1))
    assert load_for_training(made(bottleneck_size=WIDTH)) is not None


def test_peft_loads_adds_sets_and_deletes_it_and_merging_is_refused(made, tmp_path):
    config = made()
    model = moved(load_for_training(config))
    apart, whole = logits(model), load_model(config.model, config.hardware)
    model.save_pretrained(tmp_path)
    for low in (False, True):
        base = load_model(config.model, config.hardware)
        again = PeftModel.from_pretrained(base, str(tmp_path), is_trainable=True, low_cpu_mem_usage=low)
        assert torch.equal(logits(again), apart)
        assert parameter_counts(again) == parameter_counts(model)
    again.add_adapter("second", again.peft_config["default"])
    again.set_adapter("second")
    assert torch.equal(logits(again), logits(whole)), "a new one adds nothing yet"
    again.set_adapter("default")
    again.delete_adapter("second")
    assert torch.equal(logits(again), apart)
    for merge in (again.merge_adapter, again.merge_and_unload):
        with pytest.raises(ValueError, match="cannot be merged"):
            merge()
    assert torch.equal(logits(again.unload()), logits(whole))


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not heard of bottleneck adapters."""
    for table in (PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING):
        monkeypatch.delitem(table, PEFT_TYPE)


def test_a_project_trains_and_evaluates_by_it_and_its_card_says_how_it_loads(
    pristine, warm, tmp_path, monkeypatch
):
    project = Path(shutil.copytree(pristine, tmp_path / "project"))
    words = ("method={name: adapter, bottleneck_size: 8}", "evaluate.latency_prompts=0")
    trained = warm.casekit(project, "train", *words)
    each = 2 * WIDTH * SIZE + WIDTH + SIZE
    assert trained.code == 0, trained.said
    assert f"trains {2 * each:,} of " in trained.said and "by adapter on" in trained.said
    evaluated = warm.casekit(project, "evaluate", *words)
    assert evaluated.code == 0, evaluated.said
    (scores,) = (project / "evaluations").glob("*/scores.json")
    conditions = json.loads(scores.read_text())["conditions"]["tuned"]
    assert conditions["adapter"] == "beside the base, not merged"
    (run,) = (project / "runs").iterdir()
    config = loaded(project, *words).config
    tuned = load_tuned(run / "golden", config)
    forget(monkeypatch)
    base = load_model(config.model, config.hardware)
    with pytest.raises(KeyError, match=PEFT_TYPE):
        PeftModel.from_pretrained(base, str(run / "golden"))
    assert warm.casekit(project, "report", *words).code == 4, "six steps teach nobody to answer"
    (text,) = (project / "reports").glob("*/MODEL_CARD.md")
    (snippet,) = re.findall(r"```python\n(.*?)```", text.read_text(), re.DOTALL)
    names = {"base": base, "folder": str(run / "golden")}
    exec(snippet, names)
    assert torch.equal(logits(names["model"]), logits(tuned))
