"""The golden checkpoint: which evaluation was best, its weights, and when to stop waiting for a better one.

All it needs to continue an interrupted run is in `metrics.jsonl`, so it keeps no state in checkpoints.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from kit.config.errors import InvalidRunError, Problem
from kit.config.schema import Config
from kit.files import new_folder, sync, write_json
from kit.train.metrics import validations
from kit.train.processes import is_main
from kit.train.trainer import TaskScore

Weights = dict[str, Any]
GivesUp = Callable[[int, float, float], bool]
"""Told step, score and loss of a validation; true ends the run. A search gives up bad trials by it."""


@dataclass
class Best:
    """The evaluations of a run so far, which was best, and for how long the score stood still.

    Best is the highest score, and among equal scores the lowest validation loss: a case's score is often
    perfect long before the model has learned all it can. Patience looks at the score alone. A loss nearly
    always falls a little more, so a run whose score stands still would otherwise never stop.
    """

    history: list[tuple[float, float]] = field(default_factory=list)
    """Score (higher is better) and minus the validation loss of each evaluation."""
    lost: int = 0
    """So many of the first are out of the choice, because the weights of the best of them got lost."""

    def add(self, score: float, loss: float) -> bool:
        """Record an evaluation; whether its weights are the ones to keep."""
        evaluation = (score, -loss)
        open_to_choice = self.history[self.lost :]
        better = not open_to_choice or evaluation > max(open_to_choice)
        self.history.append(evaluation)
        return better

    @property
    def evaluations_since(self) -> int:
        """Evaluations after the first one that had the best score."""
        scores = [score for score, _ in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0


class Golden(TrainerCallback):  # type: ignore[misc]
    """Keeps the checkpoint with the best validation score, and stops a run that no longer gets better.

    The score is the task score where there is one, else minus the validation loss: higher is better.
    """

    def __init__(
        self,
        run: Path,
        metric: str,
        patience: int,
        best: Best,
        gather: Callable[[], Weights | None],
        save: Callable[[Path, Weights | None], None],
        facts: dict[str, Any],
    ) -> None:
        self.run = run
        self.metric = metric
        self.patience = patience
        self.best = best
        self.gather = gather
        self.save = save
        self.facts = facts
        self.stopped_early = False
        self.gives_up: GivesUp = lambda step, score, loss: False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A run that was killed after it had stopped early stops again, without another step."""
        self._look_at_patience(state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Compare this evaluation with the best so far."""
        loss = metrics["eval_loss"]
        score = metrics.get("eval_task_score", -loss)
        if not (math.isfinite(loss) and math.isfinite(score)):
            raise InvalidRunError(
                Problem(
                    where=str(self.run),
                    message=f"validation at step {state.global_step} gave loss {loss} and score {score}",
                    hint="lower `train.learning_rate`",
                )
            )
        if self.best.add(score, loss):
            self.keep(state.global_step, score, loss)
        self._look_at_patience(state, control)
        if self.gives_up(state.global_step, score, loss):
            self.stopped_early = control.should_training_stop = True

    def _look_at_patience(self, state: Any, control: Any) -> None:
        if self.best.evaluations_since >= self.patience and state.global_step < state.max_steps:
            self.stopped_early = True
            control.should_training_stop = True

    def keep(self, step: int, score: float | None, loss: float | None) -> None:
        """Write the weights as they are now as the golden checkpoint."""
        record = {"step": step, "metric": self.metric, "score": score, "eval_loss": loss, **self.facts}
        state = self.gather()
        if not is_main():
            return
        with new_folder(self.run / "golden") as folder:
            self.save(folder, state)
            write_json(folder / "golden.json", record)
            sync(folder)


def best_so_far(run: Path, kept: list[dict[str, Any]]) -> Best:
    """The evaluations in the metrics that stay; out of the choice if golden is from none of them.

    It is from none where the run was killed within writing it, or after a better one that is now done again.
    """
    evaluations = validations(kept)
    record = run / "golden" / "golden.json"
    golden = json.loads(record.read_text(encoding="utf-8"))["step"] if record.is_file() else None
    history = [(score, -loss) for _, score, loss in evaluations]
    is_there = golden in [step for step, _, _ in evaluations]
    return Best(history, lost=0 if is_there else len(history))


def golden_name(config: Config, task_score: TaskScore | None, validates: bool) -> str:
    """The name of the score that picks the golden checkpoint."""
    if not validates:
        return "last step (no validation rows)"
    if config.train.stage == "reward":
        return "pairwise_accuracy"
    if task_score is None:
        return "minus validation loss"
    first = config.evaluate.metrics[0].name if config.evaluate.metrics else "task score"
    return config.train.golden_metric or first
