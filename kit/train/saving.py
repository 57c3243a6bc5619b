"""A trainer whose checkpoints are whole or not there, and hold all that a continued run needs.

transformers' own holds weights, optimiser, schedule, random numbers and counts. What it loses at a
checkpoint is the loss since the last logged line and the validation that was due; here both are kept, so
that curves go on as if nothing had happened.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

from kit.files import replace_folder, sync, write_json
from kit.train.apart import pooled
from kit.train.checkpoints import PENDING, WAITING, read_pending, seal
from kit.train.processes import is_main, of_all


class ValidationLeftOffError(Exception):
    """The run was asked to stop while it validated: the validation is done on resume, from the beginning."""


@contextmanager
def random_numbers_kept(on: torch.device) -> Iterator[None]:
    """Whatever draws random numbers in the block, those after it are as if it had not."""
    with torch.random.fork_rng(devices=[on] if on.type == "cuda" else []):
        yield


class ResumableTrainer(Trainer):  # type: ignore[misc]
    """Saves all or nothing, leaves off a validation when asked to stop, and goes on exactly.

    Args:
        run: the run's folder.
    """

    def __init__(self, *args: Any, run: Path, **kwargs: Any) -> None:
        self.run = run
        self.stop_asked: Callable[[], bool] = lambda: False
        """Whether the run was asked to stop; asked before every forward pass of a validation."""
        self.owes_validation = False
        self.seconds_to_save: float | None = None
        self.pending: dict[str, Any] = {}
        self.waiting: Path | None = None
        super().__init__(*args, **kwargs)

    @property
    def apart(self) -> bool:
        """Whether each of several processes notes what it sees alone; see `kit.train.guard`."""
        return False

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        """Train from the beginning or a checkpoint; a validation that it owes comes first."""
        self.pending = read_pending(Path(resume_from_checkpoint) if resume_from_checkpoint else None)
        self.args.eval_on_start = self.owes_validation = bool(self.pending.get("validation"))
        return super().train(resume_from_checkpoint, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """One epoch, or what is left of it; nothing where a resumed run is at its end already."""
        if self.pending:
            self._tr_loss += self.pending["loss"]
            self._globalstep_last_logged = self.pending["logged_at"]
            if is_main() or not self.apart:  # what all have noted goes on in one of them
                for name, values in self.pending["noted"].items():
                    self._metrics["train"][name] = values
                self._total_train_tokens = self.pending["tokens"]
            self.pending = {}
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validate without moving training's random numbers; leave off where the run is asked to stop."""
        self.owes_validation = True
        try:
            with random_numbers_kept(self.args.device), self._stoppable():
                metrics: dict[str, float] = super()._evaluate(*args, **kwargs)
        except ValidationLeftOffError:
            self.control.should_save = self.control.should_training_stop = True
            return {}
        self.owes_validation = False
        return metrics

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Ask before each forward pass, thus between batches and between the tokens of an answer.

        At the embeddings: whatever stands around the model, they are called in every pass.
        """

        def ask(*_: Any) -> None:
            # Of several processes one alone must not leave a pass that the others wait in.
            if self.args.world_size == 1 and self.stop_asked():
                raise ValidationLeftOffError

        hook = self.model.get_input_embeddings().register_forward_pre_hook(ask)
        try:
            yield
        finally:
            hook.remove()

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.waiting or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, seal it, move it into place; only then may an old one go."""
        began = time.perf_counter()
        folder = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        self.waiting = folder / WAITING
        try:
            super()._save_checkpoint(model, trial)
            owed = self._owed()
            self.accelerator.wait_for_everyone()  # every process has written its part
            if self.args.should_save:
                made = self.waiting / name
                write_json(made / PENDING, owed)
                seal(made)
                for lines in self.run.glob("metrics.jsonl"):
                    sync(lines)
                replace_folder(made, folder / name)
        finally:
            if self.args.should_save:
                shutil.rmtree(self.waiting, ignore_errors=True)
            self.waiting = None
        if self.args.should_save:
            rotate_checkpoints(str(folder), self.args.save_total_limit)
        self.seconds_to_save = time.perf_counter() - began

    def _owed(self) -> dict[str, Any]:
        """What was pending at this step: exact, for a float's JSON is read back as the same float."""
        noted = getattr(self, "_metrics", {}).get("train", {})
        tokens = int(getattr(self, "_total_train_tokens", 0))  # TRL's own count
        if self.apart:
            noted, tokens = pooled(noted), sum(of_all(tokens))
        return {
            "schema": 1,
            "validation": self.owes_validation,
            "loss": self.accelerator.gather(self._tr_loss).mean().item(),
            "logged_at": self._globalstep_last_logged,
            "noted": {name: [float(value) for value in values] for name, values in noted.items()},
            "tokens": tokens,
        }
