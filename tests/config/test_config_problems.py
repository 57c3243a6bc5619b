"""What a person reads when settings are wrong: everything at once, each with place, reason and remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import ConfigError, Problem, load_config

Make = Callable[..., Path]


def problems_of(root: Path, overrides: list[str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(root, overrides or [])
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_all_problems_of_all_layers_are_reported_at_once(make_project: Make) -> None:
    root = make_project(
        "tier: tiny\n"
        "trian: 3\n"
        "train:\n"
        "  learning_rate: fast\n"
        "  lr_scheduler_type: cosin\n"
        "gates:\n"
        "  - {name: a, metric: violation_rat, at_least: 1}\n"
        "  - {name: b, metric: violation_rate}\n"
    )
    found = problems_of(root, ["model.dtype=bf16", "seed=-1"])
    assert {problem.where for problem in found} == {
        "conf/project.yaml:2",
        "conf/project.yaml:4",
        "conf/project.yaml:5",
        "conf/project.yaml:7",
        "conf/project.yaml:8",
        "command line: model.dtype=bf16",
        "command line: seed=-1",
    }
    assert len(found) == 7


def test_unreadable_files_and_words_are_reported_together(make_project: Make) -> None:
    found = problems_of(make_project("seed: 1\nseed: 2\n", "a: [1\n"), ["train.max_steps"])
    assert [problem.where.rpartition("conf/")[2] for problem in found] == [
        "recipe.yaml:2",
        "project.yaml:2",
        "command line: train.max_steps",
    ]


def test_an_unknown_tier_hides_no_other_problem(make_project: Make) -> None:
    found = problems_of(make_project("tier: huge\nseed: -1\n"))
    assert {problem.where for problem in found} == {"conf/project.yaml:1", "conf/project.yaml:2"}


def test_a_threshold_that_nothing_can_miss_is_refused(make_project: Make) -> None:
    (problem,) = problems_of(make_project("gates: [{name: g, metric: violation_rate, at_most: .inf}]\n"))
    assert "finite" in problem.message


@pytest.mark.parametrize(
    ("project", "message", "hint"),
    [
        ("train: {learning_rte: 1}", "unknown key `train.learning_rte`", "did you mean `learning_rate`?"),
        ("method: qlra", "`method.name`: unknown value 'qlra'", "did you mean `qlora`?"),
        ("model: {dtype: bf16}", "unknown value 'bf16'", "allowed: auto, bfloat16, float16, float32"),
        ("train: {learning_rate: fast}", "found 'fast', expected a valid number", ""),
        ("train: {global_batch_size: 30}", "must be a multiple of `per_device_train_batch_size` (8)", ""),
        ("data: {sources: [{path: a, hub: b}]}", "exactly one of `path`, `hub` and `grammar`", ""),
        ("data: {split: {valid: 0.6, test: 0.5}}", "leave something to train on", ""),
        ("evaluate: {metrics: [{params: {}}]}", "`evaluate.metrics[0].name` is missing", ""),
        ("gates: [{name: g, metric: violation_rat, at_most: 0}]", "'violation_rat'", "violation_rate"),
        ("gates: [{name: g, metric: violation_rate, at_most: 0, worst: topc}]", "slice 'topc'", "topic"),
        ("train: {golden_metric: exact}", "unknown metric 'exact'", "allowed: violation_rate"),
        ("project: {languages: [de]}", "unknown language 'de'", "allowed: en, fr"),
        ("tier: huge", "unknown tier 'huge'", "allowed: startup, tiny"),
        ("- a\n- b", "expected `key: value` lines", ""),
        ("tracking: {report_to: [tensorbord]}", "'tensorbord'", "did you mean `tensorboard`?"),
        ("tier: [tiny]", "unknown tier", "allowed: startup, tiny"),
        ("project: {languages: 3}", "found 3, expected a valid list", ""),
        ("data: {slices: 3}", "found 3, expected a valid list", ""),
        ("train: {learning_rate: .inf}", "found inf, expected a finite number", ""),
        ("data: {checks: {advised_tokens: [500, 200]}}", "begins at 500, above its end 200", ""),
        ("tiers: {tiyn: {title: t, licence: l}}", "tiyn", "tiny"),
    ],
)
def test_a_problem_says_what_was_found_and_what_to_do(
    make_project: Make, project: str, message: str, hint: str
) -> None:
    (problem,) = problems_of(make_project(project))
    assert message in problem.message
    assert hint in problem.hint
    assert problem.where.startswith("conf/project.yaml:")


def test_a_gate_on_sampled_answers_needs_sampling(make_project: Make) -> None:
    root = make_project(
        "evaluate: {sampling: {enabled: false}}\n"
        "gates: [{name: g, metric: violation_rate, at_most: 0, decoding: sampled}]\n"
    )
    (problem,) = problems_of(root)
    assert "none are drawn" in problem.message


def test_gate_names_are_unique(make_project: Make) -> None:
    gate = "{name: g, metric: violation_rate, at_most: 0}"
    found = problems_of(make_project(f"gates: [{gate}, {gate}]"))
    assert all("more than one gate" in problem.message for problem in found)


def test_words_that_are_no_settings(make_project: Make) -> None:
    found = problems_of(make_project(), ["train.max_steps", "=3"])
    assert [problem.where for problem in found] == ["command line: train.max_steps", "command line: =3"]


def test_response_time_is_a_metric_only_where_it_is_measured(make_project: Make) -> None:
    gate = "gates: [{name: g, metric: response_time, of: ratio, at_least: 1}]\n"
    assert load_config(make_project(gate)).config.gates[0].metric == "response_time"
    (problem,) = problems_of(make_project(gate + "evaluate: {latency_prompts: 0}\n"))
    assert "unknown metric 'response_time'" in problem.message
