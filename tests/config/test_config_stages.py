"""`train.stages`: each stage is checked as the project it would be alone, and knows where it was set."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config.errors import ConfigError, Problem
from kit.config.layers import load_config
from kit.config.methods import WHOLE, method_names

Make = Callable[..., Path]


def problems_of(root: Path, words: list[str]) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(root, words)
    return list(caught.value.problems)


def test_a_stages_own_settings_lie_over_those_of_train(make_project: Make) -> None:
    project = """\
train:
  preference: {beta: 0.3}
  stages:
    - sft
    - name: dpo
      learning_rate: 5e-6
      preference: {loss_type: [ipo]}
"""
    loaded = load_config(make_project(project), ["train.max_steps=7"])
    first, second = (loaded.of_stage(number) for number in (0, 1))
    assert [one.config.train.stage for one in (first, second)] == ["sft", "dpo"]
    assert [one.config.train.learning_rate for one in (first, second)] == [3e-5, 5e-6]
    assert all(one.config.train.stages == [] and one.config.train.max_steps == 7 for one in (first, second))
    assert second.config.train.preference.beta == 0.3  # for those that learn from preferences
    assert second.config.train.preference.loss_type == ["ipo"]
    assert first.config.train.preference.beta is None
    assert second.origin(("train", "learning_rate")).where == "conf/project.yaml:6"
    assert second.origin(("train", "stage")).where == "conf/project.yaml:5"
    assert first.origin(("train", "learning_rate")).layer == "recipe"
    assert first.origin(("train", "stage")).where == "conf/project.yaml:4"
    assert loaded.config.train.names == ["sft", "dpo"]


def test_a_single_stage_is_its_own_chain(make_project: Make) -> None:
    loaded = load_config(make_project(), ["train.stage=dpo"])
    assert loaded.config.train.names == ["dpo"] and loaded.of_stage(0) is loaded


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.stages=[sft, {name: dpo, learningrate: 1}]"], "unknown key `train.stages[1].learningrate`"),
        (
            ["train.stages=[sft, {name: dpo, learning_rate: -1}]"],
            "`train.stages[1].learning_rate`: found -1, expected a number greater than 0",
        ),
        (
            ["train.stages=[sft, {name: dpo, preference: {loss_type: [kto]}}]"],
            "`train.stages[1].preference.loss_type`: 'kto' is no loss of dpo",
        ),
        (["train.stages=[{name: sft, preference: {beta: 0.2}}]"], "train.stage is sft"),
        (["train.stages=[sft, stf]"], "`train.stages[1].name`: unknown value 'stf'"),
        (["train.stages=[sft, sft]"], "`train.stages[1]`: the stage sft is named twice"),
        (["train.stages=[{name: sft, stage: dpo}]"], "unknown key `train.stages[0].stage`"),
        (["train.stages=[sft, dpo]", "train.stage=sft"], "`train.stages` is set, and so is `train.stage`"),
        (["train.stages=[sft, dpo]", "train.packing=true"], "(stage dpo)"),
        (
            ["train.stages=[{name: sft, packing: true}, {name: dpo, packing: true}]"],
            "train.stages[1].packing",
        ),
        (["train.stages=[sft, dpo]", "train.golden_metric=bleu"], "unknown metric 'bleu'"),
        (
            ["train.stages=[sft, dpo]", "data.sources=[{path: a.jsonl, stages: [kto]}]"],
            "`data.sources[0].stages[0]`: unknown stage 'kto'",
        ),
        (["data.sources=[{path: a.jsonl, stages: [dpo]}]"], "unknown stage 'dpo'"),
        (["train.stages=[reward, sft]", "method=full"], "after `reward` nothing can go on"),
        (["train.stages=[sft, reward]"], "an adapter of sft cannot become that of a reward model"),
        (["train.stage=reward", "train.packing=true"], "`train.packing` joins dialogues"),
        (["train.stage=reward", "method.dropout=0.1"], "reward compares probabilities"),
        (["train.stage=reward", "train.preference.beta=0.2"], "train.stage is reward"),
        (["train.stages=[sft, dpo]", "data.sources=[{path: a, format: text}]"], "documents (`format: text`)"),
    ],
)
def test_what_is_wrong_with_stages_is_told_once_and_at_its_key(
    make_project: Make, words: list[str], said: str
) -> None:
    (found,) = problems_of(make_project(), words)
    assert said in found.message and found.where


@pytest.mark.parametrize("method", method_names())
def test_every_method_can_be_continued_and_whole_models_become_reward_models(
    make_project: Make, method: str
) -> None:
    load_config(make_project(), ["train.stages=[sft, dpo]", f"method={method}"])
    then_reward = ["train.stages=[sft, reward]", f"method={method}"]
    if method in WHOLE:
        load_config(make_project(), then_reward)
    else:
        said = [found.message for found in problems_of(make_project(), then_reward)]
        assert "`train.stages`: an adapter of sft cannot become that of a reward model" in said


def test_a_source_need_serve_but_one_stage(make_project: Make) -> None:
    words = ["train.stages=[pretrain, sft]", "data.sources=[{path: a, format: text}]"]
    load_config(make_project(), words)
    load_config(make_project(), ["train.stages=[{name: sft, packing: true}, dpo]"])
