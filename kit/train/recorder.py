"""Writes a run's `metrics.jsonl`, and hands on what stands there."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from kit.train.metrics import append
from kit.train.trackers import Trackers


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Appends every logged value to `metrics.jsonl`; tokens per second exclude evaluation and padding."""

    def __init__(self, run: Path, gauges: Callable[[float], dict[str, float]] = lambda speed: {}) -> None:
        """Write for `run`; `gauges` adds to a line, from the tokens per second, what else is measured."""
        self.run, self.gauges = run, gauges
        self.busy = 0.0
        self.tokens = 0
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count tokens from where the run stands."""
        self.tokens = state.num_input_tokens_seen

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock, and log the last step whatever `logging_steps` says."""
        self.busy += time.perf_counter() - self.began
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Write one line for training values, one for an evaluation; ignore summaries."""
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        if "loss" in logs:
            speed = (state.num_input_tokens_seen - self.tokens) / self.busy if self.busy else 0.0
            self.tokens, self.busy = state.num_input_tokens_seen, 0.0
            names = ("loss", "learning_rate", "grad_norm")
            line |= {"kind": "train", **{name: _finite(logs.get(name)) for name in names}}
            line |= _rewards(logs, "") | _answers(logs, "")
            found = {"tokens_per_second": round(speed, 1), **self.gauges(speed)}
            line |= found
            logs |= found  # for bar and trackers
        elif "eval_loss" in logs:
            line |= {
                "kind": "eval",
                "eval_loss": logs["eval_loss"],
                "task_score": logs.get("eval_task_score"),
                **_rewards(logs, "eval_"),
                **_answers(logs, "eval_"),
            }
        else:
            return
        append(self.run, line)


class Sender(TrainerCallback):  # type: ignore[misc]
    """Hands the lines of `metrics.jsonl` to the run's trackers; added last, when a step's are all there."""

    def __init__(self, trackers: Trackers) -> None:
        self.trackers = trackers
        trackers.begin()

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Hand over what is new."""
        self.trackers.hand_over()


def _rewards(logs: dict[str, float], prefix: str) -> dict[str, float | None]:
    """Of preference stages: how far chosen answers are ahead of rejected ones, and in how many pairs."""
    names = {"reward_margin": f"{prefix}rewards/margins", "reward_accuracy": f"{prefix}rewards/accuracies"}
    return {ours: _finite(logs[theirs]) for ours, theirs in names.items() if theirs in logs}


_OF_ANSWERS = {
    "reward": "reward",
    "reward_std": "reward_std",
    "answer_tokens": "completions/mean_length",
    "cut": "completions/clipped_ratio",
    "entropy": "entropy",
    "kl": "kl",
}
"""Our names for what TRL logs of the answers that grpo draws."""


def _answers(logs: dict[str, float], prefix: str) -> dict[str, Any]:
    """Of grpo: rewards, altogether and by metric, the share of prompts whose answers are all rewarded alike,
    the length of answers, the share that was cut, entropy, and how far the model has gone from the reference.
    """
    if f"{prefix}reward" not in logs:
        return {}
    names = {**_OF_ANSWERS, **({} if prefix else {"same_reward": "frac_reward_zero_std"})}
    found = {ours: _finite(logs[prefix + name]) for ours, name in names.items() if prefix + name in logs}
    begin, end = f"{prefix}rewards/", "/mean"
    each = {name: value for name, value in logs.items() if name.startswith(begin) and name.endswith(end)}
    return {**found, "rewards": {name[len(begin) : -len(end)]: _finite(each[name]) for name in each}}


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
