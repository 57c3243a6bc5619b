"""Training, from prepared data to a golden checkpoint. Read `train` from top to bottom.

Features: stages `sft` (assistant tokens only), `pretrain` (every token), `dpo` and `orpo` (pairs of answers),
`kto` (labelled answers) and `grpo` (rewarded answers of its own); methods `full`, `lora` and `qlora`; rows
grouped by length, or packed and kept apart; validation by the case's own task score, early stopping, exact
resume, curves and a manifest.
Not here yet: more than one node.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kit.config.errors import ConfigError, DataError, Problem
from kit.config.layers import Origin
from kit.config.schema import Config
from kit.config.yaml_lines import Key
from kit.files import sha256_json
from kit.models.loading import load_tokenizer, model_folder, weights_sha256
from kit.rewards import Reward
from kit.train.announce import announce, measure
from kit.train.examples import fingerprint_of, load_rows, tokenise
from kit.train.manifest import begin_manifest, close_manifest
from kit.train.prompts import refuse_idle, rewarded
from kit.train.resume import check_resumable, check_same_base
from kit.train.runs import new_run, save_manifest, step_of
from kit.train.trackers import check_trackers

if TYPE_CHECKING:
    from kit.train.golden import Golden
    from kit.train.interruption import Interruption
    from kit.train.trainer import RunTrainer

TaskScore = Callable[[Any, Any], float]


def train(
    config: Config,
    root: Path,
    prepared: Path,
    task_score: TaskScore | None,
    resume: Path | None = None,
    golden_choice: dict[str, Any] | None = None,
    origin: Callable[[Key], Origin] | None = None,
    rewards: Sequence[Reward] = (),
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
        rewards: what `grpo` learns from.

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
    if config.train.stage == "grpo":
        refuse_idle(rows["train"], rewards)
        rows = {split: rewarded(rows[split], rewards) for split in rows}
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

        trainer, golden = make_trainer(
            config, run, examples, tokenizer, task_score, checkpoint, base_sha256, rewards
        )
        manifest |= measure(trainer, config)
        save_manifest(run, manifest)
        announce(interruption.console, run, manifest, config)
        manifest |= run_trainer(trainer, golden, checkpoint, interruption)
    return run


@contextmanager
def stoppable() -> "Iterator[Interruption]":
    """Ctrl-C and SIGTERM end the block in order, with a checkpoint where there is something to save."""
    from kit.train.interruption import Interruption

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
    from kit.train.progress import Bar, progress_bar

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
