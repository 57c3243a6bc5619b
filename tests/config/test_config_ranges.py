"""A threshold that no score reaches is refused with the settings, at its line."""

import math
import re
from pathlib import Path

import pytest

from kit.config.errors import ConfigError
from kit.config.layers import load_config
from kit.config.ranges import RANGES
from kit.evaluate.metrics import FOLDER, metric_names

GATE = "evaluate: {{metrics: [{metric}]}}\ngates: [{{name: A, metric: {metric}, {rest}}}]\n"


def problems(root: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(root, list(overrides))
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("metric", "rest", "said"),
    [
        ("exact_match", "at_least: 60", "exact_match is 0 to 1, so that 60 decides nothing"),
        ("exact_match", "at_most: -0.1", "exact_match is 0 to 1"),
        ("exact_match", "of: difference, at_least: 2", "the difference of exact_match is -1 to 1"),
        ("violation_rate", "of: reduction, at_least: 82", "the reduction of violation_rate is 1 or less"),
        ("bleu", "at_least: 120", "bleu is 0 to 100"),
        ("answer_perplexity", "at_most: 0.5", "answer_perplexity is 1 or more"),
    ],
)
def test_a_threshold_out_of_range_is_refused(make_project, metric, rest, said):
    (problem,) = problems(make_project(GATE.format(metric=metric, rest=rest), recipe="recipe: {name: a}\n"))
    assert said in problem and "conf/project.yaml:2" in problem


def test_a_percentage_is_told_as_a_share(make_project):
    root = make_project(GATE.format(metric="exact_match", rest="at_least: 60"), recipe="recipe: {name: a}\n")
    assert "a share is written as such: 0.6" in problems(root)[0]


@pytest.mark.parametrize(
    ("metric", "rest"),
    [
        ("exact_match", "at_least: 1"),
        ("bleu", "at_least: 60"),
        ("violation_rate", "of: reduction, at_least: -3"),
        ("from_the_hooks", "at_least: 60"),
    ],
)
def test_one_within_it_or_of_an_unknown_metric_is_not(make_project, metric, rest):
    load_config(make_project(GATE.format(metric=metric, rest=rest), recipe="recipe: {name: a}\n"))


def test_every_metric_of_the_kit_has_the_range_of_its_card():
    assert set(RANGES) == {*metric_names(), "judge"}
    for name in metric_names():
        card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
        said = re.search(r"## Range\n\n(\d+)(?: \([^)]*\))? to (\d+)", card)
        if said:
            assert RANGES[name] == (float(said[1]), float(said[2])), name
        else:
            assert math.isinf(RANGES[name][1]), name


def test_a_list_of_metrics_that_was_replaced_is_one_error(make_project):
    recipe = """recipe: {name: a}
evaluate: {metrics: [exact_match, rouge_l]}
train: {golden_metric: exact_match}
gates: [{name: A, metric: exact_match, at_least: 0.5}, {name: B, metric: rouge_l, at_least: 0.5}]
claims: [{name: C, metric: rouge_1, at_least: 0.5}]
"""
    found = problems(make_project(recipe=recipe), "evaluate.metrics=[bleu]")
    told, misspelt = found
    assert told.startswith(
        "command line: evaluate.metrics=[bleu]: `evaluate.metrics` does not list metrics that other settings "
        "name: exact_match (train.golden_metric, gates[0].metric); rouge_l (gates[1].metric)\n"
    )
    assert "list them, or set train.golden_metric and gates for those that are measured" in told
    assert "`claims[0].metric`: unknown metric 'rouge_1'" in misspelt
    told, _ = problems(make_project(recipe=recipe), "evaluate.metrics=[tokn_f1]")
    assert "`tokn_f1`: did you mean `token_f1`?; list them" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hardware.num_machines=2", "train.global_batch_size=8"], "`hardware.main_address` is not set"),
        (["hardware.sharding=fsdp", "hardware.device=cpu"], "there is one process"),
        (["hardware.num_processes=3", "train.global_batch_size=8"], "3 processes of 8 sequences each"),
    ],
)
def test_what_does_not_fit_a_setting_that_must_change_is_no_second_error(words, said, make_project):
    (problem,) = problems(make_project(), *words, "train.per_device_train_batch_size=8")
    assert said in problem


def test_a_metric_that_another_layer_took_out_is_told_with_its_place(make_project):
    root = make_project(
        "gates: [{name: A, metric: exact_match, at_least: 0.5}]\n", recipe="recipe: {name: a}\n"
    )
    (problem,) = problems(root, "evaluate.metrics=[bleu]")
    assert "unknown metric 'exact_match'" in problem
    assert "`evaluate.metrics` is set at command line: evaluate.metrics=[bleu]" in problem
