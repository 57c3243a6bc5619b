"""Packed rows: several samples in one row of a forward pass, none of which sees another.

A row has no attention mask and position ids that begin again with every sample. From those transformers
makes a block-diagonal mask, if nothing else is asked: a mask of ones, a cache or a prefix turn that off in
silence. On a GPU the row brings the borders of its samples for kernels that need no mask
(`kit.models.varlen`), and may be as long as the rows of a whole pass. A pass is one row, and
`check_isolation` measures the loaded model before training.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kit.config.errors import ModelError, Problem
from kit.config.schema import Config
from kit.data.pack import pack
from kit.data.rows import IGNORED
from kit.models.loading import device, model_folder
from kit.models.varlen import VARLEN, WIDEST_HEAD, borders, register
from kit.train.saving import random_numbers_kept

LEAK = 1e-6
"""Most that a sample's logits may move, relative to the largest, when its neighbours in the row change. The
shapes stay, so rounding does too: 0 was measured wherever samples are kept apart, in bfloat16 as well."""

ROUNDING = {torch.float32: 1e-4, torch.float16: 0.1, torch.bfloat16: 0.1}
"""Most that packed logits may differ from those alone, by the weights' type. Measured: up to 5e-7 in float32,
7e-3 in bfloat16; 0.4 and more where positions do not begin anew."""

PROBE_LENGTHS = (7, 12, 1, 9)
"""Tokens of the samples that a model is measured with, a single token among them."""


def pack_batch(
    batch: dict[str, torch.Tensor], capacity: int, with_borders: bool = False
) -> list[dict[str, Any]]:
    """The samples of a padded batch in packed rows, longest row first. Together they hold no padding.

    Args:
        batch: `input_ids`, `labels` and `attention_mask`, each (samples, tokens), padded on one side.
        capacity: most tokens of a row.
        with_borders: as of `packed_row`.

    Returns:
        For each row what the model is given; see `packed_row`.
    """
    samples = unpadded(batch)
    rows = pack([len(ids) for ids, _ in samples], capacity)
    return [packed_row([samples[index] for index in row], with_borders) for row in rows]


def unpadded(batch: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and labels of each sample of a batch that is padded on one side."""
    mask = batch["attention_mask"].bool()
    # A device is asked once, not once a sample.
    counted = torch.stack((mask.sum(1), mask[:, 0]), dim=1).tolist()
    width = mask.shape[1]
    parts = [
        slice(length) if padded_after else slice(width - length, width) for length, padded_after in counted
    ]
    return [
        (ids[part], labels[part])
        for ids, labels, part in zip(batch["input_ids"], batch["labels"], parts, strict=True)
    ]


def packed_row(
    samples: Sequence[tuple[torch.Tensor, torch.Tensor]], with_borders: bool = False
) -> dict[str, Any]:
    """One row of `samples`, each its ids and labels: `input_ids`, `position_ids`, `labels` of (1, tokens).

    The first token of a sample carries no label: the token before it is another sample's last.

    Args:
        with_borders: say where samples begin as well, for a model whose attention is `VARLEN`.
    """
    position_ids = torch.cat([torch.arange(len(ids), device=ids.device) for ids, _ in samples])
    labels = torch.cat([labels for _, labels in samples])
    row: dict[str, Any] = {
        "input_ids": torch.cat([ids for ids, _ in samples])[None],
        "position_ids": position_ids[None],
        "labels": labels.masked_fill(position_ids == 0, IGNORED)[None],
    }
    return row | (borders([len(ids) for ids, _ in samples], position_ids.device) if with_borders else {})


def needs_borders(model: Any) -> bool:
    """Whether the model's attention asks where samples begin."""
    return bool(model.config._attn_implementation == VARLEN)


def row_tokens(model: Any, config: Config) -> int:
    """The most tokens of a packed row: those of one sequence, where a mask grows with their square; else of
    as many as go through the model at once."""
    at_once = config.train.per_device_train_batch_size if needs_borders(model) else 1
    return at_once * config.model.max_length


def count_rows(lengths: Sequence[int], batch_size: int, capacity: int) -> tuple[int, float]:
    """Rows that samples of these lengths make, batch by batch in this order, and the share of them in use."""
    batches = (lengths[start : start + batch_size] for start in range(0, len(lengths), batch_size))
    rows = sum(len(pack(batch, capacity)) for batch in batches)
    return rows, sum(lengths) / (rows * capacity)


def attention_for(config: Config) -> str | None:
    """`VARLEN` for packed rows on a GPU that has its kernels (compute capability 8.0 or more), where the
    model works with them. Elsewhere transformers' own choice stays (None): a mask hides other samples.
    """
    on = device(config.hardware)
    if not config.train.packing or on.type != "cuda" or torch.cuda.get_device_capability(on) < (8, 0):
        return None
    if not takes_borders(model_folder(config.model)):
        return None
    register()
    return VARLEN


def takes_borders(folder: Path) -> bool:
    """Whether the kind of model in `folder` works with variable-length attention: as transformers says of
    flash attention, heads of a width that there are kernels for, scores that nothing is done to."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    try:
        facts = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError):  # loading the model says what is wrong with it
        return False
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(facts), None)
    text = facts.get_text_config()
    widths = [getattr(layer, "head_dim", None) or 8 for layer in text.per_layer_config]
    kernels = getattr(kind, "_compatible_flash_implementations", None) or ["flash_attention_2"]
    offered = bool(getattr(kind, "_supports_flash_attn", False)) and "flash_attention_2" in kernels
    falls_back = bool(getattr(kind, "_supports_sdpa", False))
    capped = getattr(text, "attn_logit_softcapping", None) is not None
    return (
        offered
        and falls_back
        and not capped
        and max(widths) <= WIDEST_HEAD
        and not any(width % 8 for width in widths)
    )


def attention_advice(config: Config, attention: str) -> str | None:
    """Advice where packed rows are masked on a GPU, with what the mask takes; None elsewhere."""
    if device(config.hardware).type != "cuda" or attention == VARLEN:
        return None
    tokens = config.model.max_length
    return (
        f"attention is {attention}: a packed row of {tokens:,} tokens has a mask of "
        f"{tokens**2 / 2**20:,.1f} MiB and scores every pair in it; kernels that do neither want a GPU of "
        "compute capability 8.0 or more, and a model that they fit"
    )


def settle_attention(
    model: Any, tokenizer: Any, weights: torch.dtype, autocast: torch.dtype | None
) -> dict[str, float]:
    """What `check_isolation` measures; masks take the place of kernels that a model or GPU fails with.

    Args:
        autocast: the type matrix products of a training pass are computed in; None is that of the weights.

    Raises:
        ModelError: see there.
    """
    if needs_borders(model):
        try:
            with torch.autocast(model.device.type, autocast, enabled=autocast is not None):
                return check_isolation(model, tokenizer, autocast or weights)
        except ModelError:
            model.set_attn_implementation("sdpa")
    return check_isolation(model, tokenizer, weights)


def check_isolation(model: Any, tokenizer: Any, weights: torch.dtype) -> dict[str, float]:
    """Refuse a model in which packed samples see each other, or have logits that they have not alone.

    Measured on the model as it will be trained, so that neither its kind, its attention nor its adapter has
    to be known.

    Args:
        weights: the type its weights are held in, which says what is rounding.

    Returns:
        `leak` and `error` as measured; see `LEAK` and `ROUNDING`.

    Raises:
        ModelError: one of them is too large, or the model does not take such rows.
    """
    draw = random.Random(0)
    words = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    samples, others = (
        [torch.tensor(draw.choices(words, k=length), device=model.device) for length in PROBE_LENGTHS]
        for _ in range(2)
    )
    was_training = model.training
    try:
        with random_numbers_kept(model.device):
            _logits(model.train(), samples)  # what it asks of its attention in training alone, as dropout
        model.eval()
        leak, error = measure_leak(model, samples, others), measure_error(model, samples)
    except torch.OutOfMemoryError:
        raise  # which says nothing of the model
    except (TypeError, ValueError, RuntimeError) as failure:
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise _refused(f"the model does not take packed rows ({reason})") from failure
    finally:
        model.train(was_training)
    if not leak <= LEAK:  # also where it is no number
        raise _refused(
            f"samples packed into one row see each other in this model: other neighbours move a sample's "
            f"logits by {leak:.2g} of the largest, where {LEAK:g} is allowed"
        )
    if not error <= ROUNDING[weights]:
        raise _refused(
            f"packed samples have other logits than alone in this model: {error:.2g} of the largest, where "
            f"rounding is under {ROUNDING[weights]:g}; it does not begin positions anew with each sample"
        )
    return {"leak": leak, "error": error}


def measure_leak(model: Any, samples: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    """How far the logits of every second sample move when the ones between are replaced by `others`."""
    mixed = [one if at % 2 else other for at, (one, other) in enumerate(zip(samples, others, strict=True))]
    before, after = _logits(model, samples), _logits(model, mixed)
    moved = max(float((after[at] - before[at]).abs().max()) for at in range(1, len(samples), 2))
    return moved / float(torch.cat(before).abs().max())


def measure_error(model: Any, samples: Sequence[torch.Tensor]) -> float:
    """How far the logits of packed samples are from those of each alone."""
    packed = torch.cat(_logits(model, samples))
    with torch.no_grad():
        alone = torch.cat([model(input_ids=ids[None], use_cache=False).logits[0].float() for ids in samples])
    return float((packed - alone).abs().max() / alone.abs().max())


@torch.no_grad()
def _logits(model: Any, samples: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The logits of samples packed into one row, each (tokens, vocabulary)."""
    row = packed_row([(ids, ids) for ids in samples], needs_borders(model))
    del row["labels"]
    return list(model(**row, use_cache=False).logits[0].float().split([len(ids) for ids in samples]))


def _refused(message: str) -> ModelError:
    hint = "set `train.packing: false`: dialogues of like length share a batch, so that little is padding"
    return ModelError(Problem(where="train.packing", message=message, hint=hint))
