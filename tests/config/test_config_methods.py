"""Settings of a method that say nothing for it, and what cannot be had together."""

from pathlib import Path

import pytest

from kit.config import load_config
from kit.config.errors import ConfigError, Problem
from kit.config.methods import USED_BY, method_names
from kit.config.schema_train import MethodConfig

OTHER = {
    "rank": "4",
    "alpha": "4",
    "dropout": "0.1",
    "target_modules": "[q_proj]",
    "use_rslora": "true",
    "use_dora": "true",
    "init_lora_weights": "pissa",
    "loraplus_lr_ratio": "16.0",
    "double_quantization": "false",
    "num_trainable_layers": "3",
    "num_virtual_tokens": "8",
    "bottleneck_size": "16",
    "bottleneck_placement": "pfeiffer",
    "oft_block_size": "16",
}
"""A value other than the default."""


def problems(root: Path, *words: str) -> list[Problem]:
    (root / "conf").mkdir(exist_ok=True)
    (root / "conf" / "project.yaml").write_text("train: {stage: sft}\n")
    try:
        load_config(root, words)
    except ConfigError as error:
        return error.problems
    return []


def test_every_setting_says_which_methods_it_is_for():
    assert set(USED_BY) | {"name"} == set(MethodConfig.model_fields) and set(USED_BY) == set(OTHER)
    assert {method for methods in USED_BY.values() for method in methods} <= set(method_names())


@pytest.mark.parametrize("setting", USED_BY)
@pytest.mark.parametrize("method", method_names())
def test_a_setting_of_another_method_is_refused_with_the_methods_it_is_for(method, setting, tmp_path):
    found = problems(tmp_path, f"method={method}", f"method.{setting}={OTHER[setting]}")
    if method in USED_BY[setting]:
        assert [one for one in found if "is for" in one.message] == []
        return
    (problem,) = found
    assert problem.message.startswith(f"`method.{setting}` is for ") and f"is {method}" in problem.message
    assert problem.hint.startswith("take it out, or set method.name to ")
    assert problem.where == f"command line: method.{setting}={OTHER[setting]}"


def test_the_values_of_a_recipe_stand_under_another_method(tmp_path):
    assert problems(tmp_path, "method=freeze", "method.rank=8", "method.alpha=16") == []


def test_dora_is_a_setting_of_lora(tmp_path):
    (problem,) = problems(tmp_path, "method=dora")
    assert "unknown value 'dora'" in problem.message and "did you mean `lora`?" in problem.hint
    assert problems(tmp_path, "method=lora", "method.use_dora=true") == []


def test_lm_head_is_no_matter_for_a_method_without_target_modules(tmp_path):
    found = problems(tmp_path, "method=ia3", "method.target_modules=[lm_head]")
    assert [one.message.partition(" ")[0] for one in found] == ["`method.target_modules`"]
    assert "is for lora, qlora and oft" in found[0].message


def test_several_reasons_are_told_at_once(tmp_path):
    found = problems(
        tmp_path, "method=prefix", "train.packing=true", "train.gradient_checkpointing=true", "method.rank=3"
    )
    wheres = {one.where.partition("command line: ")[2].partition("=")[0] for one in found}
    assert wheres == {"train.packing", "train.gradient_checkpointing", "method.rank"}


def test_simpo_has_no_reference_and_so_may_begin_elsewhere(tmp_path):
    pissa = ["method=lora", "method.init_lora_weights=pissa", "train.stage=dpo"]
    (problem,) = problems(tmp_path, *pissa)
    assert "the reference is the model with its adapter switched off" in problem.message
    assert problems(tmp_path, *pissa, "train.preference.loss_type=[simpo]") == []


@pytest.mark.parametrize("words", [["method.loraplus_lr_ratio=0.5"], ["method.oft_block_size=1"]])
def test_values_without_a_meaning_are_refused(words, tmp_path):
    assert len(problems(tmp_path, "method=lora", *words)) == 1
