"""Layers: later wins, mappings merge, lists are replaced, and every value knows where it came from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import ConfigError, load_config

Make = Callable[..., Path]


def test_each_layer_wins_over_the_one_before(make_project: Make) -> None:
    root = make_project("train: {num_train_epochs: 2}\n")
    loaded = load_config(root, ["train.max_steps=7"])
    assert loaded.config.train.warmup_ratio == 0.03
    assert loaded.config.train.learning_rate == 3e-5
    assert loaded.config.train.num_train_epochs == 2
    assert loaded.config.train.max_steps == 7


def test_a_tier_lies_between_recipe_and_project(make_project: Make) -> None:
    root = make_project("tier: tiny\ntrain: {global_batch_size: 64}\n")
    train = load_config(root).config.train
    assert train.learning_rate == 2e-3
    assert train.global_batch_size == 64
    assert load_config(root, ["tier=startup"]).config.model.name == "Qwen/Qwen3-8B"


def test_a_tier_that_a_project_adjusts_keeps_the_recipe_s_other_settings(make_project: Make) -> None:
    root = make_project("tier: tiny\ntiers:\n  tiny:\n    settings: {train: {learning_rate: 1e-3}}\n")
    loaded = load_config(root)
    assert (loaded.config.train.learning_rate, loaded.config.train.global_batch_size) == (1e-3, 16)
    assert loaded.origin(("train", "learning_rate")).where == "conf/project.yaml:4"
    assert loaded.origin(("train", "global_batch_size")).where == "conf/recipe.yaml:15"


def test_a_tier_can_be_taken_back(make_project: Make) -> None:
    loaded = load_config(make_project("tier: tiny\n"), ["tier=null"])
    assert (loaded.config.tier, loaded.config.train.learning_rate) == (None, 3e-5)


def test_origins_name_layer_file_and_line(make_project: Make) -> None:
    root = make_project("tier: tiny\n\ntrain:\n  num_train_epochs: 2\n")
    loaded = load_config(root, ["seed=7"])

    def place(*key: str | int) -> tuple[str, str]:
        origin = loaded.origin(key)
        return origin.layer, origin.where

    assert place("train", "num_train_epochs") == ("project", "conf/project.yaml:4")
    assert place("train", "learning_rate") == ("tier tiny", "conf/recipe.yaml:15")
    assert place("method", "name") == ("recipe", "conf/recipe.yaml:3")
    assert place("evaluate", "metrics", 0, "name") == ("recipe", "conf/recipe.yaml:9")
    assert place("seed") == ("command line", "command line: seed=7")
    assert place("train", "weight_decay")[0] == "kit default"
    assert place("model", "dtype")[0] == "kit default"


def test_what_stands_inside_a_word_comes_from_the_command_line_too(make_project: Make) -> None:
    word = "data.sources=[{path: a.jsonl}]"
    origin = load_config(make_project(), [word]).origin(("data", "sources", 0, "path"))
    assert (origin.layer, origin.where) == ("command line", f"command line: {word}")


def test_lists_are_replaced_whole_with_their_origins(make_project: Make) -> None:
    root = make_project("data:\n  slices: [intent, language]\n")
    loaded = load_config(root)
    assert loaded.config.data.slices == ["intent", "language"]
    assert loaded.origin(("data", "slices")).where == "conf/project.yaml:2"


def test_a_bare_model_name_keeps_the_other_model_settings(make_project: Make) -> None:
    root = make_project("tier: tiny\n")
    model = load_config(root, ["model=some/model", "model.dtype=float32"]).config.model
    assert (model.name, model.dtype, model.max_length) == ("some/model", "float32", 256)


def test_values_on_the_command_line_are_yaml(make_project: Make) -> None:
    root = make_project()
    config = load_config(
        root, ["train.learning_rate=2e-4", "data.sources=[{path: a=b.jsonl}]", "hardware.num_threads=null"]
    ).config
    assert config.train.learning_rate == 2e-4
    assert config.data.sources[0].path == "a=b.jsonl"
    assert config.hardware.num_threads is None


def test_a_project_needs_no_recipe_and_no_project_file_of_its_own(make_project: Make, tmp_path: Path) -> None:
    root = make_project()
    (root / "conf/recipe.yaml").unlink()
    assert load_config(root).config.recipe.name == "blank"


def test_a_folder_without_conf_is_not_a_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="casekit new"):
        load_config(tmp_path)


def test_the_recipes_gates_are_known_though_the_project_replaces_them(make_project: Make) -> None:
    own = "gates: [{name: mine, metric: violation_rate, at_most: 1}]\n"
    loaded = load_config(make_project(own, RECIPE_WITH_GATES))
    assert [gate.name for gate in loaded.config.gates] == ["mine"]
    assert [gate.name for gate in loaded.recipe_gates] == ["few"]
    tiered = load_config(make_project(own + "tier: tiny\n", RECIPE_WITH_GATES))
    assert [gate.name for gate in tiered.recipe_gates] == ["few, tiny"]


def test_a_broken_gate_of_the_recipe_is_told_though_the_project_replaces_it(make_project: Make) -> None:
    broken = RECIPE_WITH_GATES.replace("at_most: 0.05", "at_moost: 0.05")
    own = "gates: [{name: mine, metric: violation_rate, at_most: 1}]\n"
    with pytest.raises(ConfigError, match="a gate of the recipe that the project replaces") as caught:
        load_config(make_project(own, broken))
    assert caught.value.problems[0].where.startswith("conf/recipe.yaml:")


RECIPE_WITH_GATES = """
evaluate: {metrics: [violation_rate]}
gates:
  - {name: few, metric: violation_rate, at_most: 0.05}
tiers:
  tiny:
    title: t
    licence: l
    settings:
      gates: [{name: "few, tiny", metric: violation_rate, at_most: 0.1}]
"""


def test_a_reward_given_by_its_bare_metric_keeps_its_place(make_project: Make) -> None:
    loaded = load_config(make_project("train:\n  grpo:\n    rewards:\n      - a\n      - metric: b\n"))
    places = [loaded.origin(("train", "grpo", "rewards", number, "metric")).where for number in (0, 1)]
    assert places == ["conf/project.yaml:4", "conf/project.yaml:5"]
