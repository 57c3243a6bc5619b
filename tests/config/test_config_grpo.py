"""Settings of `train.grpo` that do not fit: said before anything loads, with what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import load_config
from kit.config.errors import ConfigError, Problem
from kit.config.grpo import longest_answer, rewards_of

Make = Callable[..., Path]
PROJECT = "evaluate: {metrics: [token_f1, {name: violation_rate, params: {policy: p}}, answer_perplexity]}\n"
GRPO = "train.stage=grpo"


def problems_of(root: Path, words: list[str]) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(root, words)
    return caught.value.problems


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["train.stage=sft", "train.grpo.beta=0.1"], "beta", "is set, and train.stage is sft"),
        ([GRPO, "train.grpo.rewards=[rouge_l]"], "rewards[0].metric", "unknown metric 'rouge_l'"),
        ([GRPO, "train.grpo.rewards=[answer_perplexity]"], "rewards[0].metric", "reference answers"),
        ([GRPO, "train.grpo.rewards=[response_time]"], "rewards[0].metric", "how long answers take"),
        ([GRPO, "train.grpo.rewards=[judge]"], "rewards[0].metric", "a model's opinion"),
        ([GRPO, "train.grpo.rewards=[token_f1, token_f1]"], "rewards[1].metric", "is given twice"),
        ([GRPO, "train.golden_metric=answer_perplexity"], "rewards", "first metric, 'answer_perplexity'"),
        (
            [GRPO, "train.global_batch_size=12", "train.per_device_train_batch_size=4"],
            "num_generations",
            "12",
        ),
        ([GRPO, "train.grpo.max_completion_length=1024"], "max_completion_length", "no room for a prompt"),
        ([GRPO, "evaluate.max_new_tokens=2000"], "max_completion_length", "evaluate.max_new_tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    make_project: Make, words: list[str], key: str, said: str
) -> None:
    (found,) = problems_of(make_project(PROJECT), words)
    assert found.message.startswith(f"`train.grpo.{key}`") and said in found.message and found.hint


def test_what_would_blur_probabilities_or_join_prompts_is_refused(make_project: Make) -> None:
    found = problems_of(make_project(PROJECT), [GRPO, "train.packing=true", "method.dropout=0.1"])
    assert {problem.message.split("`")[1] for problem in found} == {"train.packing", "method.dropout"}


def test_without_a_metric_nothing_says_what_is_good(make_project: Make) -> None:
    nothing = "evaluate: {metrics: []}\ntrain: {golden_metric: null}\ngates: []\nclaims: []\n"
    (found,) = problems_of(make_project(nothing), [GRPO])
    assert "`evaluate.metrics` too" in found.message


@pytest.mark.parametrize(
    "value", ["num_generations=1", "temperature=0", "epsilon=1", "loss_type=bnpo", "beta=-1"]
)
def test_values_out_of_range_are_refused(make_project: Make, value: str) -> None:
    assert len(problems_of(make_project(PROJECT), [GRPO, f"train.grpo.{value}"])) == 1


def test_rewards_are_named_or_weighed_and_default_to_the_golden_metric(make_project: Make) -> None:
    def rewards(*words: str) -> dict[str, float]:
        return rewards_of(load_config(make_project(PROJECT), [GRPO, *words]).config)

    assert rewards() == {"token_f1": 1}
    assert rewards("train.golden_metric=violation_rate") == {"violation_rate": 1}
    named = "train.grpo.rewards=[token_f1, {metric: violation_rate, weight: 2}]"
    assert rewards(named) == {"token_f1": 1, "violation_rate": 2}


def test_rewards_wait_for_their_stage(make_project: Make) -> None:
    """A recipe names what is good in its case; a project of another stage may measure something else."""
    load_config(make_project(PROJECT), ["train.grpo.rewards=[rouge_l]"])


def test_the_longest_answer_is_that_of_evaluation_unless_named(make_project: Make) -> None:
    longest = longest_answer(load_config(make_project(PROJECT), [GRPO]).config)
    assert longest == 160
    named = load_config(make_project(PROJECT), [GRPO, "train.grpo.max_completion_length=32"])
    assert longest_answer(named.config) == 32


def test_several_processes_each_need_whole_groups_of_answers(make_project: Make) -> None:
    two = [GRPO, "hardware.num_processes=2", "train.per_device_train_batch_size=4"]
    (found,) = problems_of(
        make_project(PROJECT), [*two, "train.global_batch_size=24", "train.grpo.num_generations=8"]
    )
    assert found.message.startswith("`train.global_batch_size` is 24: 3 prompts with 8 answers each")
    assert found.hint == "make it a multiple of 16"
    load_config(make_project(PROJECT), [*two, "train.global_batch_size=32", "train.grpo.num_generations=8"])
