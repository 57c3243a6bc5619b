"""What may change a run by rounding only: how rows are packed, cut and recomputed; and the seed twice."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gpu_world import REHEARSAL, WHERE, apart, on_a_gpu
from train_world import losses_of

from kit.config.errors import ModelError
from kit.models.loading import load_model, load_tokenizer
from kit.models.varlen import VARLEN
from kit.train import packed
from kit.train.metrics import read_metrics
from kit.train.packed import LEAK, ROUNDING, check_isolation, settle_attention
from kit.train.setup import mixed_precision
from kit.train.stages import train

pytestmark = [on_a_gpu, pytest.mark.slow]
Row = dict[str, Any]
Change = Callable[[Row], Row]
ROUGH = 0.02
"""Most that losses of about 6 differ by where matrix products are of bfloat16, whose numbers have 8 bits."""
FINE = 2e-4
"""The same in float32."""


def grad_norms(run):
    return [line["grad_norm"] for line in read_metrics(run) if line["kind"] == "train"]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_packed_rows_have_the_losses_of_padded_ones(method, settings, prepared, tmp_path, measured):
    padded = train(settings(method, max_steps=4), tmp_path / "a", prepared, None)
    packed = train(settings(method, max_steps=4, packing=True), tmp_path / "b", prepared, None)
    assert losses_of(packed) == pytest.approx(losses_of(padded), abs=ROUGH)
    assert grad_norms(packed) == pytest.approx(grad_norms(padded), rel=0.1)
    measured(f"{method}, packed against padded: {apart(packed, padded)}")


def test_packed_rows_have_the_losses_of_padded_ones_in_float32(
    settings, prepared, tmp_path, exact_arithmetic
):
    ways = ({}, {"packing": True})
    runs = [
        train(settings(max_steps=4, dtype="float32", **way), tmp_path / str(number), prepared, None)
        for number, way in enumerate(ways)
    ]
    assert losses_of(runs[1]) == pytest.approx(losses_of(runs[0]), abs=FINE)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_samples_are_kept_apart_by_the_attention_that_trains(dtype, settings, measured):
    config, weights = settings(packing=True), getattr(torch, dtype)
    asked = packed.attention_for(config)
    model = load_model(config.model, config.hardware, weights=weights, attention=asked)
    kept = settle_attention(model, load_tokenizer(config.model), weights, mixed_precision(model.device))
    assert kept["leak"] <= LEAK and kept["error"] <= ROUNDING[torch.bfloat16]
    name = model.config._attn_implementation
    assert name == (asked or "sdpa"), "the kernels that were asked for failed, and a mask took their place"
    measured(f"packed, {dtype} weights, {name}: leak {kept['leak']:.1e}, error {kept['error']:.1e}")


def without(*names: str) -> Change:
    return lambda row: {name: value for name, value in row.items() if name not in names}


def one_sample(row: Row) -> Row:
    """Borders as if the row were one sample."""
    ends = row["cu_seq_lens_q"][[0, -1]]
    long = int(ends[-1])
    return {**row, "cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": long, "max_length_k": long}


def ones_as_mask(row: Row) -> Row:
    return {**row, "attention_mask": torch.ones_like(row["input_ids"])}


LEAKS: dict[str, tuple[bool, Change]] = {
    "masked, no positions": (False, without("position_ids")),
    "masked, a mask of ones": (False, ones_as_mask),
    "masked, a cache": (False, lambda row: {**row, "use_cache": True}),
    "kernels, no borders": (True, without("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")),
    "kernels, one sample": (True, one_sample),
}


@pytest.mark.parametrize("way", LEAKS)
def test_what_is_known_to_leak_is_refused_there_too(way, settings):
    """The control of the test above, in the way that rows are packed on a GPU and in that of elsewhere."""
    kernels, change = LEAKS[way]
    config = settings(packing=True)
    attention = packed.attention_for(config) if kernels else "sdpa"
    if kernels and attention != VARLEN:
        pytest.skip("this GPU has no kernels for packed rows")
    model = load_model(config.model, config.hardware, weights=torch.bfloat16, attention=attention)
    tokenizer = load_tokenizer(config.model)
    assert check_isolation(model, tokenizer, model.dtype)["leak"] <= LEAK
    model.register_forward_pre_hook(
        lambda _, args, given: (args, change(given) if "position_ids" in given else given), with_kwargs=True
    )
    with pytest.raises(ModelError, match=r"see each other|does not take"):
        check_isolation(model, tokenizer, model.dtype)


@pytest.mark.parametrize(("method", "packing"), [("full", False), ("lora", True)])
def test_recomputed_activations_change_losses_by_rounding_only(
    method, packing, settings, prepared, tmp_path, measured
):
    kept = train(settings(method, max_steps=4, packing=packing), tmp_path / "a", prepared, None)
    again = train(
        settings(method, max_steps=4, packing=packing, gradient_checkpointing=True),
        tmp_path / "b",
        prepared,
        None,
    )
    assert losses_of(again) == pytest.approx(losses_of(kept), abs=ROUGH)
    measured(f"{method}{', packed' * packing}, activations recomputed against kept: {apart(again, kept)}")


def test_recomputed_activations_take_less_memory(settings, long, memory):
    """Of long rows; a CPU's made-up memory knows of no activations."""
    base, prepared, folder = long

    def run(recomputed: bool) -> None:
        config = settings(max_steps=1, gradient_checkpointing=recomputed)
        model = config.model.model_copy(update={"name": str(base), "max_length": 4096})
        train(config.model_copy(update={"model": model}), folder / str(recomputed), prepared, None)

    kept, again = (memory.peak(lambda way=way: run(way)).allocated for way in (False, True))
    assert REHEARSAL or again < 0.7 * kept, f"{again:,.0f} bytes of {kept:,.0f}"


@pytest.mark.parametrize(("dtype", "allowed"), [("auto", ROUGH), ("float32", FINE)])
def test_how_a_batch_is_cut_changes_gradients_by_rounding_only(
    dtype, allowed, settings, prepared, tmp_path, monkeypatch
):
    if dtype == "float32":
        monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: None)
    runs = [
        train(
            settings(max_steps=3, dtype=dtype, per_device_train_batch_size=rows),
            tmp_path / f"{rows}",
            prepared,
            None,
        )
        for rows in (8, 4, 2)
    ]
    for run in runs[1:]:
        assert losses_of(run) == pytest.approx(losses_of(runs[0]), abs=allowed)
        assert grad_norms(run) == pytest.approx(grad_norms(runs[0]), rel=5 * allowed)


@pytest.mark.parametrize(
    ("method", "way"),
    [("full", {}), ("lora", {"packing": True}), ("lora", {"gradient_checkpointing": True})],
    ids=["full", "lora, packed", "lora, recomputed"],
)
def test_a_seed_gives_the_same_run_twice_and_another_seed_another(
    method, way, settings, prepared, tmp_path, measured
):
    runs = [
        train(settings(method, seed=seed, max_steps=6, **way), tmp_path / str(number), prepared, None)
        for number, seed in enumerate([1, 1, 2])
    ]
    same, other = apart(runs[0], runs[1]), apart(runs[0], runs[2])
    assert same.losses <= ROUGH / 10 < other.losses
    measured(f"{method} {way or ''} on {WHERE}, the same seed twice: {same}")
