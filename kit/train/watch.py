"""Watches a run: its loss, its memory, what overflows, and the longest batches before the first step.

What is found becomes a line of kind "event" in `metrics.jsonl`, from where manifest and report take it, and
is said in the terminal once.

Only `kit.train.setup` imports this module: it loads torch and transformers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from kit.config.errors import ModelError
from kit.config.preference import LOSSES, REFERENCE_FREE, losses_of
from kit.config.schema import Config
from kit.memory import ALARM, GIB, memory_now
from kit.train.curve import Finding, Watch
from kit.train.flops import cost_of, mean_context, peak_flops
from kit.train.guard import GuardedTrainer
from kit.train.metrics import append
from kit.train.packed import needs_borders
from kit.train.passes import TRAINING, no_memory, recall, reduced, remember
from kit.train.probe import probe, said
from kit.train.processes import world_size
from kit.train.recorder import Recorder
from kit.train.runs import note

OVERFLOWS = 10
"""So many steps in a row without a number in the gradient are more than the scale finding its height."""


def watch(trainer: GuardedTrainer, run: Path, config: Config, kept: list[dict[str, Any]]) -> None:
    """Have the run watched.

    Args:
        kept: lines of `metrics.jsonl` from before the step that it continues from.
    """
    recall(run, trainer.size)
    watcher = Watcher(trainer, run, config, kept)
    trainer.smaller, trainer.no_room = watcher.smaller, watcher.no_room
    trainer.add_callback(Recorder(run, watcher.gauges))
    trainer.add_callback(watcher)


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Makes findings of what it sees."""

    def __init__(
        self, trainer: GuardedTrainer, run: Path, config: Config, kept: list[dict[str, Any]]
    ) -> None:
        self.trainer, self.run, self.config = trainer, run, config
        self.kept = [line for line in kept if line["kind"] == "train"]
        self.overflows = int(self.kept[-1].get("fp16_overflows", 0)) if self.kept else 0
        self.in_a_row = 0
        self.probing = False
        self.told: set[str] = set()
        self.curve = Watch(steps=0)
        self.flops_a_second: Callable[[float], float] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Go on with the curve as it stands, and try the longest batches."""
        self.curve = Watch(steps=state.max_steps)
        for line in self.kept:
            if line["loss"] is not None:
                self.curve.add(line["step"], line["loss"])
        self.flops_a_second = share_of_peak(self.trainer, self.config, self.run)
        # Under ZeRO a pass adds to a gradient that the engine keeps, and that its own step alone forgets.
        if not self.trainer.cuts or self.trainer.is_deepspeed_enabled:
            return
        self.probing = True
        found = probe(self.trainer, self.config)
        self.probing = False
        note(self.run, probe=found)
        self.trainer.tell(said(found, args.device))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the steps that float16's scaler left out."""
        skipped = self.trainer.overflowed
        self.overflows += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        if self.in_a_row == OVERFLOWS:
            message = f"{OVERFLOWS} steps in a row were left out: the float16 gradient overflows"
            advice = "lower `train.learning_rate`, or train on a GPU that computes in bfloat16"
            self.find(Finding(state.global_step + 1, "fp16_overflow", message, advice, self.overflows))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Look at the newest loss and at the memory."""
        if "loss" not in logs:
            return
        judged = self.config.train.stage != "grpo"  # whose loss is about 0 whatever answers are worth
        if judged and logs["loss"] == logs["loss"]:
            for finding in self.curve.add(state.global_step, logs["loss"]):
                self.find(finding)
        now = memory_now(args.device)
        if now.share > ALARM and "memory" not in self.told:
            message = f"memory is {now.share:.0%} full, {now.used / GIB:.1f} of {now.capacity / GIB:.1f} GiB"
            masked = self.config.train.packing and not needs_borders(self.trainer.model)
            setting = "model.max_length" if masked else "train.per_device_train_batch_size"
            advice = f"above {ALARM:.0%} a longer row or fragments may end the run: halve `{setting}`"
            self.find(Finding(state.global_step, "memory", message, advice, now.share))

    def gauges(self, speed: float) -> dict[str, float]:
        """What is measured at every log, beside the loss; `speed` is in tokens a second."""
        now = memory_now(self.trainer.args.device)
        found = {"memory_gib": round(now.used / GIB, 3), "memory_share": round(now.share, 4)}
        if self.flops_a_second is not None:
            found["mfu"] = round(self.flops_a_second(speed), 4)
        if self.trainer.accelerator.scaler is not None:
            found["fp16_overflows"] = self.overflows
        return found

    def find(self, finding: Finding) -> None:
        """Record a finding; say it, the first of its kind."""
        facts = {"event": finding.name, "message": finding.message, "advice": finding.advice}
        epoch = round(self.trainer.state.epoch or 0.0, 4)
        value = round(float(finding.value), 6)
        append(self.run, {"step": finding.step, "epoch": epoch, "kind": "event", **facts, "value": value})
        if finding.name not in self.told:
            self.told.add(finding.name)
            when = f"step {finding.step}" if finding.step else "before the first step"
            self.trainer.tell(f"[yellow]{when}: {finding.message}[/]; {finding.advice}")

    def smaller(self, validating: bool) -> None:
        """Passes were halved."""
        size, step = self.trainer.size, self.trainer.state.global_step
        where = "validating" if validating else f"at step {step + 1}"
        how = f"going on with {size.eval_rows} rows a pass" if validating else reduced(self.config, size)
        remember(self.run, self.config, self.trainer.model, size, step)
        if self.probing:
            where = f"with the longest {'validation' if validating else 'training'} rows"
        message = f"memory ran out {where}: {how}"
        advice = "nothing needs to be done"
        if validating or size.tokens is None:
            setting = f"train.per_device_{'eval' if validating else 'train'}_batch_size"
            advice += f"; a smaller `{setting}` would save the trial"
        self.told.discard("memory_ran_out")  # each is said
        self.find(
            Finding(step, "memory_ran_out", message, advice, size.eval_rows if validating else size.rows)
        )

    def no_room(self, batch: Any, validating: bool) -> ModelError:
        """Passes cannot be halved further; without a batch, memory ran out in none of them."""
        tokens = int(batch["input_ids"].shape[1]) if isinstance(batch, dict) else None
        doing = "forward" if validating else TRAINING
        whole = tokens is not None and self.trainer.args.world_size > 1 and not self.trainer.apart
        rows = self.trainer.count_rows(batch) if whole else 1
        return no_memory(self.config, tokens, self.trainer.args.device, doing, rows)


def share_of_peak(trainer: GuardedTrainer, config: Config, run: Path) -> Callable[[float], float] | None:
    """Model FLOPs utilisation by tokens a second of all processes; None where the device's peak or the cost
    is not known.
    """
    references = forward_passes(config)
    if references is None:
        return None
    flops = cost_of(trainer.model).per_token(mean_context(trainer.train_lengths), references)
    device = torch.cuda.get_device_name(trainer.args.device) if trainer.args.device.type == "cuda" else ""
    peak = peak_flops(device)
    note(run, flops_per_token=round(flops), peak_flops=peak)
    return None if peak is None else lambda speed: speed * flops / (peak * world_size())


def forward_passes(config: Config) -> int | None:
    """Forward passes of a reference beside a step; None where a stage does more than can be counted so."""
    stage = config.train.stage
    if stage in ("pretrain", "sft", "orpo"):
        return 0
    if stage == "dpo" and stage in LOSSES:
        return 0 if set(losses_of(stage, config.train.preference)) <= set(REFERENCE_FREE) else 1
    return None
