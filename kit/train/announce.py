"""What is said of a run before its first step, and kept in its manifest."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from kit.config.grpo import one_sided, rewards_of
from kit.config.methods import LORA
from kit.config.schema import Config
from kit.train.disk import disk_budget
from kit.train.methods import parameter_counts, training_dtype
from kit.train.rates import rate_advice

if TYPE_CHECKING:
    from kit.train.trainer import RunTrainer


def measure(trainer: "RunTrainer", config: Config) -> dict[str, Any]:
    """Parameters and optimiser steps of the run, and how its rows are packed (null where they are not).

    Raises:
        ModelError: the model does not keep packed rows' dialogues apart.
    """
    trainable, total = parameter_counts(trainer.model)
    planned = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    return {
        "trainable_parameters": trainable,
        "total_parameters": total,
        "trainable_rule": trainable_rule(config, trainable / total),
        "steps": planned[-1],
        "disk": disk_budget(trainer, config, planned[-1]),
        "packing": measure_packing(trainer, config) if config.train.packing else None,
    }


LORA_SHARE = 0.01
"""The rule of thumb: LoRA trains less than this share of a model. Small models exceed it."""


def trainable_rule(config: Config, share: float) -> dict[str, Any] | None:
    """The rule of thumb for the share of parameters that is trained, and whether it is met; null where there
    is none for the method."""
    return {"under": LORA_SHARE, "met": share < LORA_SHARE} if config.method.name in LORA else None


def measure_packing(trainer: "RunTrainer", config: Config) -> dict[str, Any]:
    """Rows of the first epoch and how full they are, the attention, and what packing moves in the logits."""
    from kit.train.kernels import as_loaded
    from kit.train.packed import count_rows, row_tokens, settle_attention

    weights, model = training_dtype(config), trainer.model
    with as_loaded(model):
        isolation = settle_attention(model, trainer.processing_class, weights, trainer.autocast)
    capacity = row_tokens(model, config)
    trainer.size.tokens = min(trainer.size.tokens or capacity, capacity)
    sampler = trainer.train_sampler()
    lengths = [sampler.lengths[row] for row in sampler if row < len(sampler.lengths)]
    share = sampler.batch_size // config.hardware.world_size  # each process packs its own
    rows, fill = count_rows(lengths, share, capacity)
    return {
        "samples": len(lengths),
        "rows": rows,
        "row_tokens": capacity,
        "fill": round(fill, 4),
        "attention": model.config._attn_implementation,
        "isolation": isolation,
    }


def announce(console: Console, run: Path, manifest: dict[str, Any], config: Config) -> None:
    """Say what is about to be trained, and give advice where the rate is unusual."""
    say = partial(console.print, soft_wrap=True)  # in a log a line is a line, whatever a terminal's width
    trainable, total = manifest["trainable_parameters"], manifest["total_parameters"]
    where, processes = manifest["environment"]["device"], config.hardware.world_size
    if processes > 1:
        where += f" in {processes} processes"
    rule = f"; rule of thumb for LoRA: under {LORA_SHARE:.0%}" if manifest["trainable_rule"] else ""
    say(
        f"[bold]{manifest['run']}[/]: {config.train.stage} of {escape(config.model.name)} by "
        f"{config.method.name} on {where}, {manifest['steps']:,} steps; "
        f"trains {trainable:,} of {total:,} parameters ({trainable / total:.2%}{rule})"
    )
    if continues := manifest["continues"]:
        say(f"goes on from the golden checkpoint of [bold]{continues['run']}[/]")
    advice = [rate_advice(config, total)]
    if config.train.stage == "grpo":
        weights = rewards_of(config)
        parts = [name if weight == 1 else f"{weight:g} x {name}" for name, weight in weights.items()]
        drawn = f"{config.train.grpo.num_generations} answers to each prompt"
        say(f"{drawn}, rewarded by {' + '.join(parts)}")
        advice += one_sided(weights)
    if packing := manifest["packing"]:
        from kit.train.packed import attention_advice

        say(
            f"packed: {packing['samples']:,} samples an epoch in {packing['rows']:,} rows of up to "
            f"{packing['row_tokens']:,} tokens, {packing['fill']:.0%} full; none sees another"
        )
        advice.append(attention_advice(config, packing["attention"]))
    for text in filter(None, advice):
        say(f"[dim]advice: {text}[/]")
