"""What stands under `train.grpo`: learning from rewards that the case's own metrics give."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kit.config.section import Section


class RewardUse(Section):
    """A metric that answers are rewarded by. A bare name is short for `{metric: …}`."""

    metric: str
    """One of `evaluate.metrics`, whose parameters hold here too; it must score single answers."""
    weight: float = Field(default=1.0, gt=0)
    """The reward is the sum of all metrics' values times their weights, turned so that higher is better."""


def _metric_only(value: Any) -> Any:
    return {"metric": value} if isinstance(value, str) else value


class Grpo(Section):
    """Learning from several answers to each prompt (Shao et al. 2024); names and defaults are TRL's."""

    rewards: list[
        Annotated[RewardUse, BeforeValidator(_metric_only, json_schema_input_type=str | RewardUse)]
    ] = []
    """What a good answer is; empty takes `train.golden_metric`, else the first of `evaluate.metrics`. May
    stand here whatever the stage."""
    num_generations: int = Field(default=8, ge=2)
    """Answers drawn to each prompt, which are compared with each other. `global_batch_size` counts answers,
    and is a multiple of it."""
    max_completion_length: int | None = Field(default=None, gt=0)
    """Longest answer in tokens; one that reaches it is cut, and gets the worst reward. null is
    `evaluate.max_new_tokens`."""
    temperature: float = Field(default=1.0, gt=0)
    """How answers are drawn."""
    beta: float = Field(default=0.0, ge=0)
    """How strongly the model is held to what it was before, by the KL divergence; 0: by nothing."""
    epsilon: float = Field(default=0.2, gt=0, lt=1)
    """How far a token's probability may move in one round before its gradient is cut off."""
    loss_type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """What the loss is a mean over: `dapo` all tokens of the global batch (Yu et al. 2025), `grpo` each
    answer's tokens and then answers (Shao et al. 2024), `dr_grpo` a constant (Liu et al. 2025)."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """Divide by the standard deviation of the rewards of one prompt's answers, of the whole batch, or not."""
    num_iterations: int = Field(default=1, gt=0)
    """Optimiser steps that are made with the same answers, before new ones are drawn."""
