"""TRL's trainers with our own row order, packing, precision and task score; `kit.train.guard` has the rest.

Only `kit.train.stages` imports this module: it loads torch, transformers and TRL.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer
from trl import SFTTrainer

from kit.data.rows import IGNORED
from kit.train.guard import GuardedTrainer
from kit.train.kernels import as_loaded
from kit.train.lean import LeanTrainer
from kit.train.packed import needs_borders, pack_batch
from kit.train.processes import same_for_all, world_size
from kit.train.saving import ResumableTrainer
from kit.train.shares import WithFiller, as_many_as_others, own_batches, without_fillers

TaskScore = Callable[[Any, Any], float]


class RunTrainer(GuardedTrainer, ResumableTrainer):
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
        self.task_score = task_score
        self.autocast = autocast
        super().__init__(*args, run=run, **kwargs)

    def train_sampler(self) -> "LengthGroupedSampler":
        """The order of the training rows."""
        in_one_pass = self.args.train_batch_size * world_size()
        batch = in_one_pass * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(self.train_lengths, batch, self.args.seed, multiple_of=in_one_pass)

    def _get_train_sampler(self, train_dataset: Any = None) -> "LengthGroupedSampler":
        return self.train_sampler()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The training rows in the sampler's order; of several processes each gets its share.

        Accelerate would fill the last batch of an epoch with rows from its beginning, which one process
        does not see twice: here what fills it has no weight.
        """
        if world_size() == 1:
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader
        rows = self._remove_unused_columns(self.train_dataset, description="training")
        loader = DataLoader(
            WithFiller(rows),
            batch_size=self.args.train_batch_size,
            sampler=self.train_sampler(),
            collate_fn=without_fillers(self.data_collator, rows[0]),
            pin_memory=self.args.dataloader_pin_memory,
        )
        shared: DataLoader[Any] = self.accelerator.prepare(loader)
        return shared

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The validation rows in their order, batch by batch; of several processes each gets its share."""
        if world_size() == 1:
            loader: DataLoader[Any] = super().get_eval_dataloader(eval_dataset)
            return loader
        rows = self._remove_unused_columns(self.eval_dataset, description="evaluation")
        return DataLoader(
            WithFiller(rows),
            batch_sampler=own_batches(len(rows), self.args.eval_batch_size),
            collate_fn=without_fillers(self.data_collator, rows[0]),
            pin_memory=self.args.dataloader_pin_memory,
        )

    def autocast_smart_context_manager(
        self, cache_enabled: bool | None = True
    ) -> AbstractContextManager[None]:
        """Autocast around the loss only, so that validation answers are drawn in the weights' own type."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.args.device.type, dtype=self.autocast, cache_enabled=bool(cache_enabled))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Validation loss and, after it, the task score."""
        with self.doing("validation loss"), as_loaded(self.model):
            output = super().evaluation_loop(*args, **kwargs)
        if self.task_score is not None:
            self.model.eval()
            answering = self.doing("answers to validation prompts")
            with answering, as_loaded(self.model), torch.no_grad():
                score = float(self.task_score(self.model, self.processing_class))
            output.metrics["eval_task_score"] = score
        output.metrics.update(same_for_all(lambda: output.metrics))  # by them all stop, or none
        return output

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: the report writes the card, once the model is measured."""


class CausalTrainer(RunTrainer, LeanTrainer, SFTTrainer):  # type: ignore[misc]
    """Trains on rows that are already tokens and labels.

    Args:
        row_tokens: a batch is then a whole global batch, and goes through the model in packed rows of at
            most so many tokens; None gives it to the model as it is.
    """

    cuts = True

    def __init__(self, *args: Any, row_tokens: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.size.tokens = row_tokens
        self.own_loss = self.args.device.type == "cpu" and self.model_accepts_loss_kwargs
        self.model_accepts_loss_kwargs: bool = True  # TRL's loss takes the count of labels for any model

    def passes(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The batch, or its packed rows."""
        if not self.size.tokens:
            return super().passes(inputs)
        return as_many_as_others(pack_batch(inputs, self.size.tokens, needs_borders(self.model)))

    def weight(self, batch: dict[str, Any]) -> float:
        """A part's share of the loss of a validation batch: its labelled tokens."""
        return float((batch["labels"][:, 1:] != IGNORED).sum())

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean loss over the labelled tokens of the global batch.

        On a GPU by TRL's fused head, which scores labelled positions alone, a few at a time. On a CPU it
        scores every position, and the model's own loss gives the same number a quarter faster, if the model
        can be told how many labels there are. TRL's figures beside the loss (entropy, accuracy) nobody
        reads, and each of them would wait for the device in every pass.
        """
        fused = {} if self.own_loss else {"fused_lm_head": True}
        given = {**inputs, **fused, "use_cache": False}
        return Trainer.compute_loss(self, model, given, return_outputs, num_items_in_batch)


class LengthGroupedSampler(Sampler[int]):
    """Row order in which a global batch holds rows of like length, so that little is padding.

    The order depends on seed and epoch alone, neither on the state of a random generator nor on how
    a batch is cut into passes. So an interrupted run continues in the same order, and accumulating
    gradients changes nothing.

    Args:
        lengths: tokens of every row.
        batch_size: rows of a global batch.
        seed: decides the order, with the epoch.
        multiple_of: as many rows go through the model at once, in all processes. Where the last rows do
            not fill that, row `len(lengths)` is given for those that are missing.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, multiple_of: int = 1) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.missing = -len(lengths) % multiple_of if world_size() > 1 else 0
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self.missing

    def __iter__(self) -> Iterator[int]:
        order = length_grouped_order(self.lengths, self.batch_size, f"{self.seed}-{self.epoch}")
        return iter(order + [len(self.lengths)] * self.missing)


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
