"""What every step is held to: a loss and a gradient that are numbers, and passes that fit the memory.

Only `kit.train.trainer` imports this module: it loads torch and transformers.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch._dynamo.exc import TorchDynamoException
from transformers import Trainer

from kit.config.errors import InvalidRunError, ModelError, Problem
from kit.files import write_json
from kit.memory import ran_out, within_memory
from kit.train.apart import exchange_gradients, keeping_to_itself, pooled
from kit.train.kernels import not_compiled
from kit.train.passes import Batch, PassSize, cut
from kit.train.processes import highest, of_all
from kit.train.shares import WEIGHTLESS, as_many_as_others, more_to_come

Made = TypeVar("Made")


class GuardedTrainer(Trainer):  # type: ignore[misc]
    """A trainer whose steps are looked after. A trainer of TRL stands behind it.

    Where memory runs out, the passes are halved and the step is done again from its beginning: no weight has
    moved by then, so that it is the step that it would have been. Of several processes all halve them.

    Attributes:
        run: the run's folder, where a broken batch is left.
        size: how much goes through the model at once.
        cuts: whether a batch is rows that may go through in parts, the longest of them tried first; else
            memory that runs out ends the run.
        doing: told what runs while no step does.
        tell: shows a line in the terminal.
        overflowed: whether float16's scaler leaves out the step that runs. (What accelerate says of it is
            always no for fused optimisers, which leave it out themselves.)
        smaller: told that passes were halved while validating, or not.
        no_room: the error for a pass that cannot be halved, from the batch and whether it was validation.
    """

    run: Path
    cuts = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.doing: Callable[[str], AbstractContextManager[None]] = lambda what: nullcontext()
        self.tell: Callable[[str], None] = lambda line: None
        self.smaller: Callable[[bool], None] = lambda validating: None
        self.no_room: Callable[[Any, bool], ModelError] = lambda batch, validating: ModelError(
            "memory does not hold one row"
        )
        self.batches: list[Any] = []
        """Of the step that runs."""
        self.losses: list[torch.Tensor] = []
        """Of those of its batches that are done."""
        self.items: Any = None
        self.forget_step: Callable[[], None] = lambda: None
        """Takes back what was noted since the step that runs began."""
        self.validated_losses: list[tuple[torch.Tensor, float]] = []
        """Of the validation that runs: every batch's loss and weight."""
        self.overflowed = False
        super().__init__(*args, **kwargs)
        rows, eval_rows = self.args.per_device_train_batch_size, self.args.per_device_eval_batch_size
        self.size = PassSize(rows, None, eval_rows)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train.

        Raises:
            ModelError: memory ran out, and nothing more can be halved; or torch cannot compile the layers.
        """
        try:
            return super().train(*args, **kwargs)
        except RuntimeError as error:
            if ran_out(error):
                raise self.no_room(None, False) from error
            if isinstance(error, TorchDynamoException):
                raise not_compiled(error) from error
            raise

    def count_rows(self, batch: Batch) -> int:
        """How many rows a batch holds."""
        return len(batch["input_ids"])

    def weight(self, batch: Batch) -> float:
        """A part's share of the loss of a validation batch: its rows."""
        return self.count_rows(batch)

    def row_lengths(self, rows: Any) -> list[int]:
        """Tokens of every row of either split, by which rows share batches."""
        return [len(ids) for ids in rows["input_ids"]]

    @cached_property
    def train_lengths(self) -> list[int]:
        """Those of the training rows; read once, for it takes the whole table through memory."""
        return self.row_lengths(self.train_dataset)

    def passes(self, inputs: Any) -> list[Any]:
        """What goes through the model in turn for one batch: the batch, in parts where it is too large."""
        if not self.cuts or self.size.rows >= self.args.per_device_train_batch_size:
            return [inputs]
        return as_many_as_others(cut(inputs, self.count_rows(inputs), self.size.rows))

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The batches of the next step."""
        self.batches, self.items = super().get_batch_samples(*args, **kwargs)
        self.losses = []
        self.forget_step = self.forgets()
        return self.batches, self.items

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward pass of a batch, in as many parts as memory asks for.

        Raises:
            ModelError: memory does not hold one row.
        """
        loss = self._go_through(model, [inputs], num_items_in_batch, inputs)
        while loss is None:
            self.make_smaller(inputs, validating=False)
            self.forget_step()
            model.zero_grad()
            again = [*self.batches[: len(self.losses)], inputs]
            loss = self._go_through(model, again, num_items_in_batch, inputs)
        self.losses.append(loss)
        if self.apart and len(self.losses) == len(self.batches):
            exchange_gradients(model.parameters())
        return loss

    @property
    def apart(self) -> bool:
        """Whether this is one of several processes that make their passes apart from each other.

        Not where each holds a part of the model, or a batch cannot be cut: there they meet in every pass.
        """
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        return bool(self.args.world_size > 1 and self.cuts and not sharded)

    def _go_through(self, model: Any, batches: list[Any], items: Any, batch: Any) -> torch.Tensor | None:
        """The share of the loss of the last of these batches, with the gradients of all; None where memory
        ran out. How many passes each takes is agreed on before, so that no process waits in them.
        """
        planned = [self.passes(one) for one in batches]

        def work() -> torch.Tensor:
            losses = [self.pass_through(model, passes, items) for passes in planned]
            return losses[-1]

        return self.attempt(work, batch, validating=False)

    def pass_through(self, model: Any, passes: list[Any], items: Any) -> torch.Tensor:
        """A batch's share of the loss, from its passes; its gradient is added to that of the step."""
        loss = torch.zeros((), device=self.args.device)
        for number, one in enumerate(passes, 1):
            alone = self.apart or number < len(passes)  # processes exchange gradients once a step
            forget = self.forgets() if WEIGHTLESS in one else None
            with more_to_come(self.accelerator, model) if alone else nullcontext():
                loss += super().training_step(model, one, items)
            if forget:  # figures of rows that are none
                forget()
        return loss

    def attempt(self, work: Callable[[], Made], batch: Any, validating: bool) -> Made | None:
        """What `work` makes; None where memory ran out, in this or another of the processes.

        Raises:
            ModelError: it ran out where others are left in the middle of a pass, so that it cannot be halved.
        """
        if not self.apart:
            made = within_memory(work)
            if made is None and self.args.world_size > 1:
                raise self.no_room(batch, validating)
            return made
        with keeping_to_itself(self.accelerator):
            made = within_memory(work)
        return None if highest(int(made is None)) else made

    def make_smaller(self, batch: Any, validating: bool) -> None:
        """Halve the passes.

        Raises:
            ModelError: they cannot be halved further.
        """
        if validating:
            halved = self.cuts and self.size.halve_eval()
        else:
            halved = self.cuts and self.size.halve(max(self.train_lengths))
        if not halved:
            raise self.no_room(batch, validating)
        self.smaller(validating)

    def forgets(self) -> Callable[[], None]:
        """TRL keeps figures of every pass for the next log, and a count of tokens; what this gives takes back
        all that is noted from here on, for passes that are done again, or were only tried.
        """
        notes = list(getattr(self, "_metrics", {}).values())
        before = [{name: list(values) for name, values in of_mode.items()} for of_mode in notes]
        tokens = getattr(self, "_total_train_tokens", 0)

        def forget() -> None:
            for of_mode, were in zip(notes, before, strict=True):
                of_mode.clear()
                of_mode.update({name: list(values) for name, values in were.items()})
            self._total_train_tokens = tokens

        return forget

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, None, None]:
        """The loss of a validation batch, the same in however many parts it goes through the model.

        Raises:
            ModelError: memory does not hold one row.
        """
        forget = self.forgets()

        def work() -> torch.Tensor:
            parts = cut(inputs, self.count_rows(inputs), self.size.eval_rows) if self.cuts else [inputs]
            step = super(GuardedTrainer, self).prediction_step
            losses: list[torch.Tensor]
            losses = [step(model, part, prediction_loss_only, ignore_keys)[0] for part in parts]
            if len(parts) == 1:
                return losses[0]
            weights = [self.weight(part) for part in parts]
            shares = [loss * weight for loss, weight in zip(losses, weights, strict=True) if weight]
            return torch.stack(shares).sum() / sum(weights)

        weight = self.weight(inputs)
        loss = self.attempt(work, inputs, validating=True)
        while loss is None:
            self.make_smaller(inputs, validating=True)
            forget()
            loss = self.attempt(work, inputs, validating=True)
        if not weight:  # a batch that is none, for a process that had no more
            forget()
        self.validated_losses.append((loss.detach().float(), weight))
        return loss, None, None

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, with what TRL noted of the passes of all processes."""
        if self.apart:
            noted = self._metrics["train" if self.model.training else "eval"]
            noted.update(pooled(noted))
        super().log(logs, *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Validation, whose loss does not depend on how rows are cut into batches: every labelled token (or
        row, see `weight`) weighs alike, whichever of several processes it went through. transformers' own
        weighs a batch by its rows, and in several processes the last, smaller one as a full one.
        """
        self.validated_losses = []
        output = super().evaluation_loop(*args, **kwargs)
        losses = [loss for loss, _ in self.validated_losses]
        weights = [weight for _, weight in self.validated_losses]
        own = list(zip(torch.stack(losses).tolist() if losses else [], weights, strict=True))
        # In the order of the batches, of which each process has every so many-th.
        whole = [one for turn in zip(*of_all(own), strict=True) for one in turn if one[1]]
        if whole:
            shares = [loss * weight for loss, weight in whole]
            output.metrics["eval_loss"] = sum(shares) / sum(weight for _, weight in whole)
        return output

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradient's norm, before the optimiser touches a weight.

        Raises:
            InvalidRunError: it, or the loss, is NaN or infinite.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        loss = torch.stack(self.losses).sum() if self.losses else torch.zeros(())
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        # One wait for the device a step, whatever the number of its passes (several processes agree in each).
        finite = [math.isfinite(value) for value in torch.stack([loss, _on(whole, loss)]).tolist()]
        if not finite[0]:
            self._refuse("loss", [batch for batch, one in self._done() if not math.isfinite(one.item())])
        # float16 overflows now and then: its scaler leaves the step out and tries a smaller scale.
        self.overflowed = not finite[1] and self.accelerator.scaler is not None
        if not finite[1] and not self.overflowed:
            self._refuse("gradient", self._broken(model))
        return norm

    def _done(self) -> Iterator[tuple[Any, torch.Tensor]]:
        return zip(self.batches, self.losses, strict=False)

    def _broken(self, model: Any) -> list[Any]:
        """Those of the step's batches whose gradient alone is no number; all of them if none is."""
        found = []
        alone = self.cuts and self.args.world_size == 1
        for batch in self.batches if alone else []:
            model.zero_grad()
            self.pass_through(model, self.passes(batch), self.items)
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            if not all(torch.isfinite(gradient).all() for gradient in gradients):
                found.append(batch)
        return found or self.batches

    def legible(self, batch: Any) -> dict[str, list[Any]]:
        """A batch as lists for a person to look at, one entry a row, its text first."""
        if not isinstance(batch, dict):
            return {"rows": list(batch)}
        kept = {
            name: value.tolist()
            for name, value in batch.items()
            if isinstance(value, torch.Tensor) and value.dim() and not name.endswith("attention_mask")
        }
        text = self.processing_class.batch_decode(kept["input_ids"]) if "input_ids" in kept else []
        return {"text": text, **kept}

    def _refuse(self, what: str, batches: list[Any]) -> NoReturn:
        rank = f"-{self.args.process_index}" if self.args.process_index else ""  # each leaves its own
        path, step = self.run / f"broken_batch{rank}.json", self.state.global_step + 1
        rows = [self.legible(batch) for batch in batches]
        joined = {name: [one for row in rows for one in row[name]] for name in (rows[0] if rows else ())}
        write_json(path, {"step": step, "what": what, "learning_rate": self._get_learning_rate(), **joined})
        hint = "lower `train.learning_rate`, or look at those rows"
        if what == "gradient":
            hint = "lower `train.learning_rate`, look at those rows, or compute in float32"
        message = f"the {what} at step {step} is no number (see {path.name}); no weight was changed by it"
        raise InvalidRunError(Problem(where=str(self.run), message=message, hint=hint))


def _on(value: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(0.0 if value is None else value).to(like.device, like.dtype)
