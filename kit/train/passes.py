"""How much goes through the model at once, and what is done when memory does not hold it.

The global batch and its order never change. A batch that is too large for the memory goes through the model
in halves, each its share of the loss, so that the gradient is the same but for rounding: half the
micro-batch, twice the accumulation.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kit.config.errors import ModelError, Problem
from kit.config.schema import Config
from kit.memory import GIB, memory_now
from kit.train.packed import row_tokens
from kit.train.runs import load_manifest, note

Batch = dict[str, Any]
TRAINING = "forward and backward"
"""What is done with a training pass, as errors say it."""


@dataclass
class PassSize:
    """The most that one pass holds; what was learned of the memory stays learned.

    Attributes:
        rows: sequences (pairs, for stages that compare two answers) of a training pass; not used when packed.
        tokens: of a packed row; None where rows are not packed.
        eval_rows: rows of a validation pass.
    """

    rows: int
    tokens: int | None
    eval_rows: int

    def halve(self, longest: int) -> bool:
        """Half as much in a training pass; False where that cannot be.

        Args:
            longest: tokens of the longest training row, which a packed row must hold.
        """
        if self.tokens is not None:
            half = max(self.tokens // 2, longest)
            smaller, self.tokens = half < self.tokens, half
            return smaller
        self.rows, smaller = max(self.rows // 2, 1), self.rows > 1
        return smaller

    def halve_eval(self) -> bool:
        """Half as many rows in a validation pass; False where that cannot be."""
        self.eval_rows, smaller = max(self.eval_rows // 2, 1), self.eval_rows > 1
        return smaller


def pass_size(config: Config, model: Any) -> PassSize:
    """What the settings ask for, with the attention that the model has."""
    settings = config.train
    tokens = row_tokens(model, config) if settings.packing else None
    return PassSize(settings.per_device_train_batch_size, tokens, settings.per_device_eval_batch_size)


def cut(batch: Batch, count: int, rows: int) -> list[Batch]:
    """A batch in parts of at most `rows` rows.

    Args:
        batch: tensors that hold one entry a row, or (chosen, then rejected) several times as many.
        count: its rows.
    """
    if count <= rows:
        return [batch]
    return [_rows(batch, count, slice(start, start + rows)) for start in range(0, count, rows)]


def _rows(batch: Batch, count: int, which: slice) -> Batch:
    def part(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.dim() or len(value) % count:
            return value
        sides = value.view(-1, count, *value.shape[1:])
        return sides[:, which].flatten(0, 1)

    return {name: part(value) for name, value in batch.items()}


def remember(run: Path, config: Config, model: Any, size: PassSize, step: int) -> None:
    """Write to the manifest that passes are smaller than asked for, so that a resumed run begins with it."""
    now = {**asdict(size), "accumulation": accumulation(config, size), "since_step": step}
    note(run, batch={**now, "asked": asdict(pass_size(config, model))})


def recall(run: Path, size: PassSize) -> None:
    """Come down to what an earlier session of the run came down to."""
    found = load_manifest(run).get("batch") if (run / "manifest.json").is_file() else None
    if not found:
        return
    size.rows, size.eval_rows = min(found["rows"], size.rows), min(found["eval_rows"], size.eval_rows)
    if size.tokens is not None:
        size.tokens = min(found["tokens"], size.tokens)


def accumulation(config: Config, size: PassSize) -> int | None:
    """Passes of a step, in each process; None where it depends on how rows are packed."""
    if size.tokens is not None:
        return None
    batch = config.train.per_device_train_batch_size
    share = config.train.global_batch_size // config.hardware.world_size
    return share // batch * -(-batch // size.rows)


def reduced(config: Config, size: PassSize) -> str:
    """What is said when a training pass was halved."""
    if size.tokens is not None:
        return f"packed rows hold at most {size.tokens:,} tokens from here on, every step the same samples"
    return (
        f"going on with {size.rows} of {config.train.per_device_train_batch_size} rows a pass and "
        f"{accumulation(config, size)} passes a step; the global batch stays {config.train.global_batch_size}"
    )


def no_memory(
    config: Config,
    tokens: int | None,
    on: torch.device,
    doing: str = TRAINING,
    rows: int = 1,
) -> ModelError:
    """The error where not even one row fits, with what helps in the order to try it.

    Args:
        tokens: of the row that did not fit; None where memory ran out in no pass that could be halved.
        doing: what was done with it.
        rows: how many there were, in a pass that could not be halved.
    """
    now = memory_now(on)
    taken = f"{now.used / GIB:.1f} of {now.capacity / GIB:.1f} GiB are taken"
    one = f"{rows} rows" if rows > 1 else "one row"
    what = f"does not hold {one} of {tokens:,} tokens, {doing}" if tokens else "ran out between two passes"
    longest, batch = config.model.max_length, config.train.per_device_train_batch_size
    several = bool(config.train.packing and doing == TRAINING and tokens and tokens > longest)
    shorter = f"a `model.max_length` below {longest if several else tokens or longest:,}"
    ways = [
        f"fewer than {rows} rows at once" if rows > 1 else "",
        f"a `train.per_device_train_batch_size` below {batch}, to which packed rows are long"
        if several
        else "",
        "" if config.train.gradient_checkpointing else "`train.gradient_checkpointing=true`",
        f"{shorter} (`data.over_length` says what becomes of longer rows)",
        "" if config.method.name == "qlora" else "`method=qlora`",
        "a smaller model",
    ]
    hint = "try in this order: " + "; ".join(filter(None, ways))
    message = f"memory {what}: {taken}{' without it' if tokens else ''}"
    return ModelError(Problem("train.per_device_train_batch_size", message, hint))
