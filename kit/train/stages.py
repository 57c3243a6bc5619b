"""Training, from prepared data to a golden checkpoint. Read `train` from top to bottom.

Features: stages `sft` (assistant tokens only), `pretrain` (every token), `dpo` and `orpo` (pairs of answers),
`kto` (labelled answers), `grpo` (rewarded answers of its own) and `reward` (pairs, for a model that scores
answers), alone or several in turn; every method of `docs/reference/support.md`; rows grouped by length, or
packed and kept apart; validation by the case's own task score, early stopping, exact resume, curves and a
manifest.
Of several processes each runs all of this; the main one alone writes (see `kit.train.processes`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kit.config.errors import DataError, Problem, Terminated
from kit.config.layers import LoadedConfig
from kit.config.schema import Config
from kit.files import sha256_json
from kit.memory import keep_freed_memory
from kit.models.loading import device, load_tokenizer, model_folder, weights_sha256
from kit.rewards import Reward
from kit.train.announce import announce, measure
from kit.train.chain import ALONE, Link, check_same_start
from kit.train.disk import check_space, full_disk_told
from kit.train.examples import Examples, Row, fingerprint_of, load_rows, load_samples, tokenise
from kit.train.manifest import begin_manifest, close_manifest
from kit.train.opening import opened
from kit.train.processes import is_main, join_processes, same_for_all, tell_launcher
from kit.train.prompts import refuse_idle, rewarded
from kit.train.resume import check_resumable, check_same_base
from kit.train.runs import save_manifest
from kit.train.sharding import check_sharding
from kit.train.trackers import Trackers, check_trackers, open_trackers, tracked

if TYPE_CHECKING:
    from kit.train.golden import GivesUp, Golden
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
    given: LoadedConfig | None = None,
    link: Link | None = None,
    gives_up: "GivesUp | None" = None,
    rewards: Sequence[Reward] = (),
    called: str = "",
) -> Path:
    """Train as `config` says and return the run's folder.

    Args:
        root: the project; the run goes to `runs/` in it.
        prepared: a prepared data folder with `train/` and `valid/`.
        task_score: scores (model, tokenizer) on validation, higher is better; None takes minus the
            validation loss.
        resume: the folder of an interrupted run, continued exactly where its last checkpoint stands.
        golden_choice: what `task_score` depends on; see `kit.train.manifest.golden_choice`.
        given: the layer each setting came from, for the run's `config.yaml`, and the words of the command
            line, for its manifest.
        link: which of several stages it is, and whose golden checkpoint it goes on from; None is alone.
        gives_up: told step, score and loss of each validation; true ends the run.
        rewards: what `grpo` learns from.
        called: what the bar is called where the run is a part of something; nothing else is said of it
            then, and being stopped leaves nothing.

    Raises:
        ConfigError: a launcher started another number of processes than `hardware` says, a tracker is not
            installed, the model cannot be sharded here, `resume` cannot go on with these settings or is
            being trained by another process, or the stage before was trained on other data.
        DataError: there is nothing to train on.
        ModelError: the base model cannot be loaded, does not keep packed rows' dialogues apart, or
            memory does not hold one row of it.
        InvalidRunError: loss or gradient became NaN or infinite, or `resume` began with another base or
            from another golden checkpoint.
        DiskError: the disk has too little space for the run, or became full within it.
        KeyboardInterrupt: Ctrl-C; the run keeps a checkpoint, if it had made a step, and the status
            `interrupted`; `finished` where its last step was done.
        Terminated: SIGTERM; the same.
    """
    join_processes(config.hardware)
    check_trackers(config.tracking.report_to if is_main() else [])
    check_sharding(config)
    rows = {split: load_rows(prepared, split, config.train.stage) for split in ("train", "valid")}
    if config.train.stage == "grpo":
        refuse_idle(rows["train"], rewards)
        rows = {split: rewarded(rows[split], rewards) for split in rows}
    data = {"fingerprint": fingerprint_of(prepared), "sha256": sha256_json(rows)}
    chosen_by = golden_choice or {}
    if resume:
        check_resumable(resume, config, data, chosen_by)
    base_sha256 = weights_sha256(model_folder(config.model))
    place = same_for_all(lambda: link.facts(base_sha256, data["fingerprint"])) if link else ALONE
    if resume:
        check_same_base(resume, base_sha256)
        check_same_start(resume, place)

    tokenizer = load_tokenizer(config.model)
    examples = examples_of(rows, prepared, tokenizer, config)

    begin = partial(begin_manifest, config, data, base_sha256, chosen_by, place)
    with (
        full_disk_told(root / "runs"),
        stoppable(called) as interruption,
        opened(root, resume, config, given, begin) as (run, checkpoint, manifest),
    ):
        tell_launcher(run)
        with tracked(run, manifest, interruption.console) as trackers, closing(run, manifest):
            open_trackers(trackers, config, root, run, manifest, interruption.console)
            from kit.train.setup import make_trainer

            if device(config.hardware).type == "cpu":
                keep_freed_memory()
            start = link.golden if link else None
            trainer, golden = make_trainer(
                config, run, examples, tokenizer, task_score, checkpoint, base_sha256, start, rewards
            )
            golden.gives_up = gives_up or golden.gives_up
            manifest |= measure(trainer, config)
            save_manifest(run, manifest)
            check_space(run, manifest["disk"], config.train.save_total_limit)
            if not called:
                announce(interruption.console, run, manifest, config)
            manifest |= run_trainer(trainer, golden, checkpoint, interruption, manifest, trackers)
        if interruption.agree_to_stop():  # within the last step or save: finished, and nothing follows
            interruption.stop()
    return run


def examples_of(
    rows: dict[str, list[Row]], prepared: Path, tokenizer: Any, config: Config
) -> dict[str, Examples]:
    """The rows of each split as tokens, those that preparing has found among them.

    Raises:
        DataError: there is none to train on.
    """
    known = {split: load_samples(prepared, split, tokenizer, config) for split in rows}
    examples = {split: tokenise(rows[split], tokenizer, config, known[split]) for split in rows}
    if not examples["train"]:
        raise DataError(Problem(where=str(prepared), message="there is no row to train on"))
    return examples


@contextmanager
def stoppable(called: str = "") -> "Iterator[Interruption]":
    """Ctrl-C and SIGTERM end the block in order, with a checkpoint where there is something to save.

    Args:
        called: as of `train`.
    """
    from kit.train.interruption import Interruption

    interruption = Interruption(Console(stderr=True, quiet=not is_main()), called)
    with interruption.listening():
        yield interruption


@contextmanager
def closing(run: Path, manifest: dict[str, Any]) -> Iterator[None]:
    """Whatever ends the block, the manifest says how the run ended."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        manifest["status"] = "interrupted"
        raise
    finally:
        if is_main():
            close_manifest(run, manifest)


def run_trainer(
    trainer: "RunTrainer",
    golden: "Golden",
    checkpoint: Path | None,
    interruption: "Interruption",
    manifest: dict[str, Any],
    trackers: Trackers,
) -> dict[str, Any]:
    """Train to the end or to an early stop; how it ended, for the manifest.

    Raises:
        KeyboardInterrupt, Terminated: it was asked to stop before; there is a checkpoint.
    """
    from kit.train.interruption import Notice
    from kit.train.progress import live
    from kit.train.recorder import Sender

    trainer.add_callback(interruption)
    trainer.add_callback(Notice(trainer, manifest, interruption.console))
    trainer.stop_asked = lambda: interruption.asked
    trainer.add_callback(Sender(trackers))
    with live(interruption.console, interruption.called) as shown:
        trainer.add_callback(shown)
        trainer.doing, trainer.tell = shown.doing, shown.tell
        trackers.tell = shown.tell
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done = trainer.state.global_step
    at_its_end = (golden.stopped_early or done >= trainer.state.max_steps) and not trainer.owes_validation
    if interruption.agree_to_stop() and not at_its_end:
        interruption.stop()
    record = golden.run / "golden" / "golden.json"
    if not same_for_all(record.is_file):  # no validation, or killed while writing it
        golden.keep(done, None, None)
    return {"status": "finished", "stopped_early": golden.stopped_early, "steps": done}
