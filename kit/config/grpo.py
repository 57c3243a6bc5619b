"""Settings of `train.grpo` that the stage or other settings make senseless; rewards that can be hacked."""

from collections.abc import Iterator
from typing import get_args

from kit.config.explain import Finding, dotted, unknown_choice
from kit.config.schema import Config, Evaluate
from kit.config.schema import Model as ModelSettings
from kit.config.schema_grpo import Grpo
from kit.config.schema_train import Hardware, Stage, Train
from kit.config.tree import Tree, mapping_at, section_at
from kit.config.yaml_lines import Key

NOT_OF_ONE_ANSWER = {
    "answer_perplexity": "measures how likely the reference answers are, not an answer that was drawn",
    "response_time": "measures how long answers take, which training must not chase",
    "memorised_secrets": "looks at what the model says to text of the training rows, not at an answer",
    "calibration_error": "scores how sure the model is over all prompts, not an answer",
    "brier_score": "scores how sure the model is, not an answer",
    "risk_coverage": "scores how sure the model is over all prompts, not an answer",
    "judge": "is a model's opinion: a rule that can be checked is what this stage learns from",
}
"""Metrics that give a single answer no value, and why."""
BALANCED_BY = {"violation_rate": "over_refusal_rate", "under_triage": "over_triage"}
"""A fault -> the over-caution that brings it down for nothing."""


def rewards_of(config: Config) -> dict[str, float]:
    """The metrics that answers are rewarded by, each with its weight; empty where there is no metric."""
    if config.train.grpo.rewards:
        return {use.metric: use.weight for use in config.train.grpo.rewards}
    first = config.train.golden_metric or next((use.name for use in config.evaluate.metrics), None)
    return {first: 1.0} if first else {}


def longest_answer(config: Config) -> int:
    """Most tokens of an answer that is drawn while training."""
    return config.train.grpo.max_completion_length or config.evaluate.max_new_tokens


def one_sided(rewards: dict[str, float]) -> list[str]:
    """Rewards that silence or refusal of everything would satisfy, in sentences."""
    return [
        f"{fault} is rewarded without {caution}: a model that refuses everything has no fault and wins; "
        f"add {caution} to train.grpo.rewards"
        for fault, caution in BALANCED_BY.items()
        if fault in rewards and caution not in rewards
    ]


def check_grpo(tree: Tree, metrics: list[str]) -> list[Finding]:
    """Every setting of the merged tree that says nothing, or the wrong thing, for its stage. Rewards are the
    case's: with another stage they wait.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
        metrics: the names of `evaluate.metrics`.
    """
    train = mapping_at(tree, "train")
    stage, grpo = train.get("stage", Train().stage), section_at(train, "grpo", Grpo)
    if stage not in get_args(Stage) or grpo is None:
        return []
    if stage != "grpo":
        return [
            _finding((name,), f"is set, and train.stage is {stage}, which draws no answers", "take it out")
            for name in mapping_at(train, "grpo")
            if name != "rewards" and getattr(grpo, name) != getattr(Grpo(), name)
        ]
    found = [*_rewards(grpo, metrics), *_nothing_to_reward(grpo, train, metrics)]
    return [*found, *_batch(grpo, train), *_shares(grpo, train, tree), *_rest(grpo, tree)]


def _rewards(grpo: Grpo, metrics: list[str]) -> Iterator[Finding]:
    """Rewards that are no metric of the case, that score no single answer, or that stand twice."""
    first: dict[str, int] = {}
    for index, use in enumerate(grpo.rewards):
        key: Key = ("rewards", index, "metric")
        if use.metric in NOT_OF_ONE_ANSWER:
            message = f"{use.metric!r} {NOT_OF_ONE_ANSWER[use.metric]}"
            yield _finding(key, message, "name metrics that score single answers")
        elif use.metric not in metrics:
            yield unknown_choice(("train", "grpo", *key), "metric", use.metric, metrics)
        if first.setdefault(use.metric, index) != index:
            yield _finding(key, f"{use.metric!r} is given twice", "name it once, and weigh it by `weight`")


def _nothing_to_reward(grpo: Grpo, train: Tree, metrics: list[str]) -> Iterator[Finding]:
    if grpo.rewards:
        return
    hint = "name the metrics that make an answer a good one"
    chosen = train.get("golden_metric") or next(iter(metrics), None)
    if chosen is None:
        yield _finding(("rewards",), "is empty, and `evaluate.metrics` too: nothing says what is good", hint)
    elif chosen in NOT_OF_ONE_ANSWER:
        message = f"is empty, and the case's first metric, {chosen!r}, {NOT_OF_ONE_ANSWER[chosen]}"
        yield _finding(("rewards",), message, hint)


def _batch(grpo: Grpo, train: Tree) -> Iterator[Finding]:
    batch = train.get("global_batch_size", Train().global_batch_size)
    if isinstance(batch, int) and batch % grpo.num_generations:
        yield _finding(
            ("num_generations",),
            f"is {grpo.num_generations}, and `train.global_batch_size`, which counts answers, is {batch}: "
            "the answers to a prompt are compared within a batch",
            f"set train.global_batch_size to a multiple, such as {grpo.num_generations * 4}",
        )
    if train.get("packing") is True:
        yield Finding(
            ("train", "packing"),
            "`train.packing` joins dialogues, and grpo learns from answers that it draws",
            "set it to false: prompts of like length share a batch",
            needs_rest=True,
        )


def _shares(grpo: Grpo, train: Tree, tree: Tree) -> Iterator[Finding]:
    """A batch of which several processes cannot each have whole groups of answers."""
    hardware = section_at(tree, "hardware", Hardware)
    batch = train.get("global_batch_size", Train().global_batch_size)
    if hardware is None or not isinstance(batch, int):
        return
    processes, group = hardware.world_size, grpo.num_generations
    if batch % group or batch % processes or batch // processes % group == 0:
        return  # the first two are said elsewhere
    yield Finding(
        ("train", "global_batch_size"),
        f"`train.global_batch_size` is {batch}: {batch // group} prompts with {group} answers each, which "
        f"{processes} processes cannot share evenly, and answers to a prompt are rewarded together",
        f"make it a multiple of {group * processes}",
        needs_rest=True,
    )


def _rest(grpo: Grpo, tree: Tree) -> Iterator[Finding]:
    dropout = mapping_at(tree, "method").get("dropout")
    if isinstance(dropout, float | int) and dropout:
        yield Finding(
            ("method", "dropout"),
            f"`method.dropout` is {dropout}: grpo compares probabilities before and after a step, and "
            "dropout would blur both",
            "set it to 0",
            needs_rest=True,
        )
    room = mapping_at(tree, "model").get("max_length", ModelSettings().max_length)
    usual = mapping_at(tree, "evaluate").get("max_new_tokens", Evaluate().max_new_tokens)
    longest = grpo.max_completion_length or usual
    if isinstance(room, int) and isinstance(longest, int) and longest >= room:
        where = (
            "train.grpo.max_completion_length" if grpo.max_completion_length else "evaluate.max_new_tokens"
        )
        yield _finding(
            ("max_completion_length",),
            f"answers may have {longest} tokens ({where}), which leaves no room for a prompt in the {room} "
            "of `model.max_length`",
            "lower it, or raise model.max_length",
        )


def _finding(name: Key, message: str, hint: str) -> Finding:
    key: Key = ("train", "grpo", *name)
    return Finding(key, f"`{dotted(key)}`: {message}", hint, needs_rest=True)
