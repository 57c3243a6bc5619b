"""The longest batches that can occur, tried before the first step, so that memory runs out then or never.

What is tried leaves no trace: weights, the optimiser's state, random numbers and noted figures are afterwards
what they were before. Of several processes each tries the longest rows of all, for any of them may get these,
and what does not fit one is halved in all.

Only `kit.train.watch` imports this module: it loads torch.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from kit.config.schema import Config
from kit.memory import ALARM, GIB, Memory, memory_now
from kit.train.guard import GuardedTrainer
from kit.train.kernels import as_loaded
from kit.train.packed import needs_borders, packed_row, unpadded
from kit.train.passes import Batch, no_memory
from kit.train.processes import of_all
from kit.train.saving import random_numbers_kept


@runtime_checkable
class Answering(Protocol):
    """A task score that can say what its largest batch of answers is."""

    prompts: int
    """Answered at once."""

    def longest(self, tokenizer: Any) -> int:
        """Tokens of the longest prompt with the longest answer it may get."""


def probe(trainer: GuardedTrainer, config: Config) -> dict[str, Any]:
    """Run the longest training pass, validation pass and answers; halve them until memory holds them.

    Returns:
        For the manifest: `train` and `validation` with rows and tokens of a pass (validation null without
        rows), `answers` with prompts and tokens (null where the task score does not say), and the memory at
        its fullest, in GiB, with its share; of several processes the fullest one's.

    Raises:
        ModelError: memory does not hold one row.
    """
    peak = Peak(trainer.args.device)
    with trainer.doing("trying the longest batches"), untouched(trainer), optimizer_state(trainer):
        trained = _try(trainer, validating=False)
        peak.look()
        with as_loaded(trainer.model):
            validated = _try(trainer, validating=True) if trainer.eval_dataset is not None else None
            answered = _try_answers(trainer, config)
        peak.look()
    share, used = max(of_all((peak.most.share, peak.most.used)))
    at = {"memory_gib": round(used / GIB, 2), "memory_share": round(share, 3)}
    return {"train": trained, "validation": validated, "answers": answered, **at}


class Peak:
    """The memory at its fullest since it was made."""

    def __init__(self, on: torch.device) -> None:
        self.on = on
        if on.type == "cuda":  # what an earlier run of this process took is none of this one's
            torch.cuda.reset_peak_memory_stats(on)
        self.most = memory_now(on)
        self.before = most_ever()

    def look(self) -> None:
        """Note the most that was taken since."""
        now, ever = memory_now(self.on), most_ever()
        used = max(now.used, ever if ever > self.before else 0)
        if self.on.type == "cuda":
            used = torch.cuda.max_memory_reserved(self.on)
        if used > self.most.used:
            self.most = Memory(used, now.capacity)


def most_ever() -> int:
    """The most of main memory that this process ever had, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def said(found: dict[str, Any], on: torch.device) -> str:
    """The probe's result in a line."""
    now = memory_now(on)
    share, spare = found["memory_share"], (ALARM - found["memory_share"]) * now.capacity / GIB
    where = f"{spare:.1f} GiB below" if spare >= 0 else f"{-spare:.1f} GiB above"
    return f"the longest batches fit: memory {share:.0%}, {where} the alarm at {ALARM:.0%}"


@contextmanager
def untouched(trainer: GuardedTrainer) -> Iterator[None]:
    """Random numbers, the model's mode, gradients and TRL's notes are afterwards as they were."""
    model, on = trainer.model, trainer.args.device
    forget = trainer.forgets()
    python, numbers, training = random.getstate(), np.random.get_state(), model.training
    try:
        with random_numbers_kept(on):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        model.zero_grad(set_to_none=True)
        model.train(training)
        forget()


@contextmanager
def optimizer_state(trainer: GuardedTrainer) -> Iterator[None]:
    """The optimiser's moments are in memory within the block, as from the first step on.

    A step with gradients of nothing at a rate of nothing makes them and leaves every weight as it is. A
    resumed run has its own already.
    """
    optimizer: Any = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    fresh = not optimizer.state
    if fresh:
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        type(optimizer).step(optimizer)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        trainer.model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        if fresh:
            optimizer.state.clear()


def _try(trainer: GuardedTrainer, validating: bool) -> dict[str, int]:
    """Run the longest pass, halved until memory holds it; its rows and tokens with padding."""
    while True:
        batch = longest_batch(trainer, validating)
        run = partial(_validate, trainer, batch) if validating else _training_pass(trainer, batch)
        fits = trainer.attempt(run, batch, validating)
        trainer.model.zero_grad(set_to_none=True)
        if fits:
            return {"rows": trainer.count_rows(batch), "tokens": int(batch["input_ids"].shape[1])}
        trainer.make_smaller(batch, validating)


def _training_pass(trainer: GuardedTrainer, batch: Batch) -> Callable[[], bool]:
    trainer.current_gradient_accumulation_steps = 1
    items = trainer._get_num_items_in_batch([batch], trainer.args.device)  # processes count together

    def run() -> bool:
        super(GuardedTrainer, trainer).training_step(trainer.model, batch, items)
        return True

    return run


def _validate(trainer: GuardedTrainer, batch: Batch) -> bool:
    trainer.model.eval()
    super(GuardedTrainer, trainer).prediction_step(trainer.model, batch, prediction_loss_only=True)
    return True


def longest_batch(trainer: GuardedTrainer, validating: bool) -> Batch:
    """The largest pass that can occur: the longest rows together; packed, a row filled to the last token."""
    rows = trainer.eval_dataset if validating else trainer.train_dataset
    packed = None if validating else trainer.size.tokens
    at_once = trainer.size.eval_rows if validating else trainer.size.rows
    count = trainer.args.per_device_train_batch_size if packed else at_once
    lengths = trainer.row_lengths(rows) if validating else trainer.train_lengths
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))[:count]
    batch = _collate(trainer, rows.select(order))
    return _brimful(batch, packed, needs_borders(trainer.model)) if packed else batch


def _collate(trainer: GuardedTrainer, rows: Any) -> Batch:
    """Rows as a batch on the device, as the trainer's own loader makes it."""
    rows = trainer._remove_unused_columns(rows, description="probe")
    batch: Batch = trainer.data_collator([rows[at] for at in range(len(rows))])
    return {
        name: value.to(trainer.args.device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }


def _brimful(batch: Batch, capacity: int, with_borders: bool) -> Batch:
    """A packed row of the batch's longest samples, the last one cut so that it holds `capacity` tokens."""
    left, samples = capacity, []
    for ids, labels in unpadded(batch):
        samples.append((ids[:left], labels[:left]))
        left -= len(samples[-1][0])
        if left <= 0:
            break
    return packed_row(samples, with_borders)


def _try_answers(trainer: GuardedTrainer, config: Config) -> dict[str, int] | None:
    """One pass over as many tokens as the longest prompts and answers come to, with their cache kept."""
    score = getattr(trainer, "task_score", None)
    if not isinstance(score, Answering):
        return None
    trainer.model.eval()
    most = getattr(trainer.model.config, "max_position_embeddings", None)
    tokens = min(score.longest(trainer.processing_class), most or sys.maxsize)
    while True:
        ids = torch.zeros((score.prompts, tokens), dtype=torch.long, device=trainer.args.device)
        if trainer.attempt(partial(_answer, trainer.model, ids), {"input_ids": ids}, validating=True):
            return {"prompts": score.prompts, "tokens": tokens}
        if score.prompts == 1:
            raise no_memory(config, tokens, trainer.args.device, "answering (`evaluate.max_new_tokens`)")
        score.prompts //= 2


@torch.no_grad()
def _answer(model: Any, ids: torch.Tensor) -> bool:
    model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True, logits_to_keep=1)
    return True
