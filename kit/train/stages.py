"""Training, from prepared data to a golden checkpoint. Read `train` from top to bottom.

Features: stages `sft` (assistant tokens only), `pretrain` (every token), `dpo` and `orpo` (pairs of answers)
and `kto` (labelled answers); methods `full`, `lora` and `qlora`; rows grouped by length, or packed and kept
apart; validation by the case's own task score, early stopping, exact resume, curves and a manifest.
Not here yet: more than one node.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kit.config.errors import ConfigError, DataError, Problem
from kit.config.layers import Origin
from kit.config.schema import Config, Stage, Tracker
from kit.config.yaml_lines import Key
from kit.data.answers import render_answer, render_pair
from kit.data.length import dialogue_samples
from kit.data.preference import LABEL_STAGES, PAIR_STAGES
from kit.data.prepared import unpacked
from kit.files import sha256_json
from kit.models.loading import load_tokenizer, model_folder, weights_sha256
from kit.train.manifest import begin_manifest, close_manifest
from kit.train.methods import parameter_counts, rate_advice, training_dtype
from kit.train.resume import check_resumable, check_same_base
from kit.train.runs import new_run, save_manifest, step_of

if TYPE_CHECKING:
    from kit.train.trainer import RunTrainer
    from kit.train.watch import Golden, Interruption

TaskScore = Callable[[Any, Any], float]
Examples = list[dict[str, Any]]
"""Training rows as tokens, in the columns that the stage's trainer reads."""
Row = dict[str, Any]
"""`messages` and `tools`; for a pair also `rejected`, the list of one answer; for kto also `label`."""


def train(
    config: Config,
    root: Path,
    prepared: Path,
    task_score: TaskScore | None,
    resume: Path | None = None,
    golden_choice: dict[str, Any] | None = None,
    origin: Callable[[Key], Origin] | None = None,
) -> Path:
    """Train as `config` says and return the run's folder.

    Args:
        root: the project; the run goes to `runs/` in it.
        prepared: a prepared data folder with `train/` and `valid/`.
        task_score: scores (model, tokenizer) on validation, higher is better; None takes minus the
            validation loss.
        resume: the folder of an interrupted run, continued exactly where its last checkpoint stands.
        golden_choice: what `task_score` depends on; see `kit.train.manifest.golden_choice`.
        origin: the layer each setting came from, for the run's `config.yaml`.

    Raises:
        ConfigError: several processes are asked for, a tracker is not installed, or `resume` cannot be
            continued with these settings.
        DataError: there is nothing to train on.
        ModelError: the base model cannot be loaded, or does not keep packed rows' dialogues apart.
        InvalidRunError: the loss became NaN or infinite, or `resume` began with another base.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run keeps a checkpoint, if it had made a step, and the
            status `interrupted`.
    """
    refuse_many_processes()
    check_trackers(config.tracking.report_to)
    rows = {split: load_rows(prepared, split, config.train.stage) for split in ("train", "valid")}
    data = {"fingerprint": fingerprint_of(prepared), "sha256": sha256_json(rows)}
    chosen_by = golden_choice or {}
    checkpoint = check_resumable(resume, config, data, chosen_by) if resume else None
    base_sha256 = weights_sha256(model_folder(config.model))
    if resume:
        check_same_base(resume, base_sha256)

    tokenizer = load_tokenizer(config.model)
    examples = {split: tokenise(rows[split], tokenizer, config) for split in rows}
    if not examples["train"]:
        raise DataError(Problem(where=str(prepared), message="there is no row to train on"))

    run = resume or new_run(root, config, origin)
    resumed_at = step_of(checkpoint) if resume else None
    manifest = begin_manifest(run, config, data, base_sha256, chosen_by, resumed_at)
    with stoppable() as interruption, closing(run, manifest):
        from kit.train.setup import make_trainer

        trainer, golden = make_trainer(config, run, examples, tokenizer, task_score, checkpoint, base_sha256)
        manifest |= measure(trainer, config)
        save_manifest(run, manifest)
        announce(interruption.console, run, manifest, config)
        manifest |= run_trainer(trainer, golden, checkpoint, interruption)
    return run


@contextmanager
def stoppable() -> "Iterator[Interruption]":
    """Ctrl-C and SIGTERM end the block in order, with a checkpoint where there is something to save."""
    from kit.train.watch import Interruption

    interruption = Interruption(Console(stderr=True))
    with interruption.listening():
        yield interruption


@contextmanager
def closing(run: Path, manifest: dict[str, Any]) -> Iterator[None]:
    """Whatever ends the block, the manifest says how the run ended."""
    try:
        yield
    except KeyboardInterrupt:
        manifest["status"] = "interrupted"
        raise
    finally:
        close_manifest(run, manifest)


def refuse_many_processes() -> None:
    """Refuse to be one of several processes: each would train the whole run, and write it to one folder.

    Raises:
        ConfigError: a launcher such as torchrun set WORLD_SIZE above 1.
    """
    count = os.environ.get("WORLD_SIZE") or "1"
    if count != "1":
        raise ConfigError(
            Problem(
                where="WORLD_SIZE",
                message=f"a launcher started {count} processes, but training runs in one, on one GPU",
                hint="start `casekit train` without torchrun or accelerate; larger models fit by "
                "`method=qlora` and `train.gradient_checkpointing=true`",
            )
        )


def check_trackers(trackers: list[Tracker]) -> None:
    """Refuse a tracker that is not installed, before anything is loaded.

    Raises:
        ConfigError: names every one of them.
    """
    missing = [tracker for tracker in trackers if importlib.util.find_spec(tracker) is None]
    if missing:
        raise ConfigError(
            [
                Problem(
                    where="tracking.report_to",
                    message=f"{tracker!r} is not installed",
                    hint=f"`pip install {tracker}`, or take it off the list; metrics.jsonl is always written",
                )
                for tracker in missing
            ]
        )


def load_rows(prepared: Path, split: str, stage: Stage) -> list[Row]:
    """The rows of a prepared split, with what their stage learns from; none where the split has no rows.

    Raises:
        DataError: `prepared` is not a prepared data folder, or was prepared for another stage.
    """
    import datasets

    folder = prepared / split
    if not folder.is_dir():
        raise DataError(
            Problem(
                where=str(folder), message="is missing", hint="prepare the data with `casekit data prepare`"
            )
        )
    if not any(folder.glob("*.arrow")):  # an empty split is saved without a table, and does not load
        return []
    table = datasets.load_from_disk(str(folder))
    beside = ["rejected"] if stage in PAIR_STAGES else ["label"] if stage in LABEL_STAGES else []
    if missing := set(beside) - set(table.column_names):
        message = f"has no column {missing.pop()!r}, from which {stage} learns"
        raise DataError(Problem(str(folder), message, "prepare the data again with this `train.stage`"))
    needed = [name for name in ("messages", "tools", *beside) if name in table.column_names]
    return [unpacked(row) for row in table.select_columns(needed)]


def fingerprint_of(prepared: Path) -> str:
    """The fingerprint that `data.json` gives the prepared data."""
    summary = json.loads((prepared / "data.json").read_text(encoding="utf-8"))
    return str(summary["fingerprint"])


def tokenise(rows: list[Row], tokenizer: Any, config: Config) -> Examples:
    """Token ids of every row, and what is learned of them.

    `sft` labels what the assistant says, `pretrain` all of it. `dpo` and `orpo` take the prompt and either
    answer apart, `kto` prompt and answer.
    """
    most = config.model.max_length
    if config.train.stage in PAIR_STAGES:
        pairs = [
            render_pair(row["messages"], row["rejected"][0], tokenizer, most, row.get("tools", ()))
            for row in rows
        ]
        return [
            {
                "prompt_ids": chosen.prompt_ids,
                "chosen_ids": chosen.completion_ids,
                "rejected_ids": rejected.completion_ids,
            }
            for chosen, rejected in pairs
        ]
    if config.train.stage in LABEL_STAGES:
        answers = [render_answer(row["messages"], tokenizer, most, row.get("tools", ())) for row in rows]
        return [
            {"prompt_ids": one.prompt_ids, "completion_ids": one.completion_ids, "label": row["label"]}
            for one, row in zip(answers, rows, strict=True)
        ]
    samples = [
        sample
        for row in rows
        for sample in dialogue_samples(row["messages"], tokenizer, config, row.get("tools", ()))
    ]
    if config.train.stage == "pretrain":
        return [{"input_ids": sample.input_ids, "labels": sample.input_ids} for sample in samples]
    return [{"input_ids": sample.input_ids, "labels": sample.labels} for sample in samples]


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
        "steps": planned[-1],
        "packing": measure_packing(trainer, config) if config.train.packing else None,
    }


def measure_packing(trainer: "RunTrainer", config: Config) -> dict[str, Any]:
    """Rows of the first epoch and how full they are, the attention, and what packing moves in the logits."""
    from kit.train.packed import check_isolation, count_rows

    isolation = check_isolation(trainer.model, trainer.processing_class, training_dtype(config))
    sampler = trainer.train_sampler()
    lengths = [sampler.lengths[row] for row in sampler]
    rows, fill = count_rows(lengths, sampler.batch_size, config.model.max_length)
    return {
        "samples": len(lengths),
        "rows": rows,
        "fill": round(fill, 4),
        "attention": trainer.model.config._attn_implementation,
        "isolation": isolation,
    }


def announce(console: Console, run: Path, manifest: dict[str, Any], config: Config) -> None:
    """Say what is about to be trained, and give advice where the rate is unusual."""
    trainable, total = manifest["trainable_parameters"], manifest["total_parameters"]
    console.print(
        f"[bold]{manifest['run']}[/]: {config.train.stage} of {config.model.name} by {config.method.name} "
        f"on {manifest['environment']['device']}, {manifest['steps']:,} steps; "
        f"trains {trainable:,} of {total:,} parameters ({trainable / total:.2%})"
    )
    advice = [rate_advice(config)]
    if packing := manifest["packing"]:
        from kit.train.packed import attention_advice

        console.print(
            f"packed: {packing['samples']:,} samples an epoch in {packing['rows']:,} rows of up to "
            f"{config.model.max_length:,} tokens, {packing['fill']:.0%} full; none sees another"
        )
        advice.append(attention_advice(config, packing["attention"]))
    for text in filter(None, advice):
        console.print(f"[dim]advice: {text}[/]")


def run_trainer(
    trainer: "RunTrainer",
    golden: "Golden",
    checkpoint: Path | None,
    interruption: "Interruption",
) -> dict[str, Any]:
    """Train to the end or to an early stop; how it ended, for the manifest.

    Raises:
        KeyboardInterrupt: it was asked to stop before; there is a checkpoint.
    """
    from kit.train.watch import Bar, progress_bar

    trainer.add_callback(interruption)
    with progress_bar(interruption.console) as progress:
        bar = Bar(progress)
        trainer.add_callback(bar)
        trainer.doing = bar.doing
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done = trainer.state.global_step
    ended_early = interruption.asked and not golden.stopped_early and done < trainer.state.max_steps
    if ended_early:
        raise KeyboardInterrupt
    if not (golden.run / "golden" / "golden.json").is_file():  # no validation, or killed while writing it
        golden.keep(done, None, None)
    return {"status": "finished", "stopped_early": golden.stopped_early, "steps": done}
