"""TRL's trainers with five things of ours: row order, packing, precision, a finite loss, the task score.

Only `kit.train.stages` imports this module: it loads torch, transformers and TRL.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer
from trl import SFTTrainer

from kit.config.errors import InvalidRunError, Problem
from kit.files import write_json
from kit.train.lean import LeanTrainer
from kit.train.packed import pack_batch

TaskScore = Callable[[Any, Any], float]


class RunTrainer(Trainer):  # type: ignore[misc]
    """What the trainer of every stage has beside TRL's own: see above. A trainer of TRL stands behind it.

    Args:
        run: the run's folder, where a batch with a broken loss is left.
        task_score: scores model and tokenizer on validation; higher is better.
        autocast: the type matrix products are computed in; None computes in the weights' type.
    """

    def __init__(
        self,
        *args: Any,
        run: Path,
        task_score: TaskScore | None,
        autocast: torch.dtype | None,
        **kwargs: Any,
    ) -> None:
        self.run = run
        self.task_score = task_score
        self.autocast = autocast
        self.doing: Callable[[str], AbstractContextManager[None]] = lambda what: nullcontext()
        """Told what runs while no step does."""
        super().__init__(*args, **kwargs)

    def train_sampler(self) -> "LengthGroupedSampler":
        """The order of the training rows."""
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(self.row_lengths(), batch, self.args.seed)

    def row_lengths(self) -> list[int]:
        """Tokens of every training row, by which rows share batches."""
        return [len(ids) for ids in self.train_dataset["input_ids"]]

    def _get_train_sampler(self, train_dataset: Any = None) -> "LengthGroupedSampler":
        return self.train_sampler()

    def autocast_smart_context_manager(
        self, cache_enabled: bool | None = True
    ) -> AbstractContextManager[None]:
        """Autocast around the loss only, so that validation answers are drawn in the weights' own type."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.args.device.type, dtype=self.autocast, cache_enabled=bool(cache_enabled))

    def passes(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes through the model in turn for one batch: the batch itself."""
        return [inputs]

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward pass, one for each packed row; a loss that is no number ends the run and
        leaves its batch.

        Raises:
            InvalidRunError: the loss is NaN or infinite.
        """
        loss = torch.zeros((), device=self.args.device)
        for one in self.passes(inputs):  # each a part of the sum over the global batch's labels
            loss += super().training_step(model, one, num_items_in_batch)
        if not math.isfinite(loss.item()):
            self._refuse(inputs)
        return loss

    def _refuse(self, inputs: dict[str, Any]) -> None:
        path = self.run / "broken_batch.json"
        tensors = {name: value.tolist() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        write_json(
            path,
            {
                "step": self.state.global_step + 1,
                "learning_rate": self._get_learning_rate(),
                "text": self.processing_class.batch_decode(tensors["input_ids"]),
                **{name: value for name, value in tensors.items() if name != "attention_mask"},
            },
        )
        raise InvalidRunError(
            Problem(
                where=str(self.run),
                message=f"the loss at step {self.state.global_step + 1} is no number (see {path.name})",
                hint="lower `train.learning_rate`, or look at those rows",
            )
        )

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Validation loss and, after it, the task score, which leaves training's random numbers alone."""
        with self.doing("validation loss"):
            output = super().evaluation_loop(*args, **kwargs)
        if self.task_score is not None:
            self.model.eval()
            with self.doing("answers to validation prompts"), torch.random.fork_rng(), torch.no_grad():
                score = float(self.task_score(self.model, self.processing_class))
            output.metrics["eval_task_score"] = score
        return output

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: the report writes the card, once the model is measured."""


class CausalTrainer(RunTrainer, LeanTrainer, SFTTrainer):  # type: ignore[misc]
    """Trains on rows that are already tokens and labels.

    Args:
        row_tokens: a batch is then a whole global batch, and goes through the model in packed rows of at
            most so many tokens; None gives it to the model as it is.
    """

    def __init__(self, *args: Any, row_tokens: int | None, **kwargs: Any) -> None:
        self.row_tokens = row_tokens
        super().__init__(*args, **kwargs)
        self.own_loss = self.args.device.type == "cpu" and self.model_accepts_loss_kwargs
        self.model_accepts_loss_kwargs: bool = True  # TRL's loss takes the count of labels for any model

    def passes(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The batch, or its packed rows."""
        return pack_batch(inputs, self.row_tokens) if self.row_tokens else [inputs]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean loss over the labelled tokens of the global batch.

        TRL's loss saves memory with a fused head, written for GPUs. Without one it scores every
        position, labelled or not, and computes entropies besides: on a CPU the model's own loss
        gives the same number a quarter faster, if the model can be told how many labels there are.
        """
        if not self.own_loss:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs["use_cache"] = False
        return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


class LengthGroupedSampler(Sampler[int]):
    """Row order in which a global batch holds rows of like length, so that little is padding.

    The order depends on seed and epoch alone, neither on the state of a random generator nor on how
    a batch is cut into passes. So an interrupted run continues in the same order, and accumulating
    gradients changes nothing.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(length_grouped_order(self.lengths, self.batch_size, f"{self.seed}-{self.epoch}"))


BATCHES_SORTED_TOGETHER = 8
"""Few enough to leave batches mixed, enough that padding stays under a tenth."""


def length_grouped_order(lengths: Sequence[int], batch_size: int, seed: str) -> list[int]:
    """A random order of rows in which each run of `batch_size` rows has similar lengths.

    Rows are shuffled, sorted by length within every `BATCHES_SORTED_TOGETHER` batches, cut into
    batches, and the batches are shuffled. A smaller last batch stays last.
    """
    draw = random.Random(seed)
    order = list(range(len(lengths)))
    draw.shuffle(order)
    whole = len(order) - len(order) % batch_size
    rows, rest = order[:whole], order[whole:]
    batches = []
    for start in range(0, whole, batch_size * BATCHES_SORTED_TOGETHER):
        group = sorted(
            rows[start : start + batch_size * BATCHES_SORTED_TOGETHER], key=lambda row: lengths[row]
        )
        batches += [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
    draw.shuffle(batches)
    return [row for batch in batches for row in batch] + rest
