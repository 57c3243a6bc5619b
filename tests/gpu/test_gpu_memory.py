"""Memory that really runs out, in training and while answering, and float16 that overflows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_memory import Peak
from gpu_world import REHEARSAL, casekit, on_a_gpu, on_cuda_only
from train_world import losses_of

from kit.config.errors import InvalidRunError, ModelError
from kit.config.schema import Config, Sampling
from kit.evaluate.generate import generate
from kit.evaluate.prompts import Prompt
from kit.models.loading import load_model, load_tokenizer
from kit.train.metrics import read_metrics
from kit.train.stages import train
from kit.train.trainer import CausalTrainer

pytestmark = [on_a_gpu, pytest.mark.slow]


@dataclass(frozen=True)
class Long:
    """Training on rows that take memory."""

    config: Config
    prepared: Path
    folder: Path

    def run(self, rows: int = 8, **more: Any) -> Path:
        """A step of eight rows, so many at once."""
        settings = self.config.train.model_copy(update={"per_device_train_batch_size": rows, **more})
        config = self.config.model_copy(update={"train": settings})
        return train(config, self.folder / f"{rows}-{len(list(self.folder.iterdir()))}", self.prepared, None)


@pytest.fixture
def longer(long, settings, tmp_path) -> Long:
    base, prepared, _ = long
    tree = settings(max_steps=1, per_device_eval_batch_size=1).model_dump(mode="json")
    config = Config.model_validate({**tree, "model": {"name": str(base), "max_length": 4096}})
    return Long(config, prepared, tmp_path)


def events(run: Path) -> list[str]:
    return [line["message"] for line in read_metrics(run) if line["kind"] == "event"]


def test_passes_are_halved_until_memory_holds_them_and_the_batch_stays(longer, memory, measured, capfd):
    free: list[Path] = []
    four = memory.peak(lambda: longer.run(rows=4))
    eight = memory.peak(lambda: free.append(longer.run(rows=8)))
    assert four.reserved < eight.allocated, f"four rows {four}, eight {eight}: no limit lies between"
    memory.limit((four.reserved + eight.allocated) / 2)
    capfd.readouterr()
    tight = longer.run(rows=8)
    memory.lift()
    manifest = json.loads((tight / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert (manifest["batch"]["rows"], manifest["batch"]["accumulation"]) == (4, 2)
    assert manifest["probe"]["train"]["rows"] == 4
    said = " ".join(capfd.readouterr().err.split())
    assert "memory ran out with the longest training rows: going on with 4 of 8 rows a pass" in said
    assert "the global batch stays 8" in said
    assert losses_of(tight) == pytest.approx(losses_of(free[0]), abs=0.02)
    measured(f"eight long rows: {_gib(eight)}; four: {_gib(four)}; halved between, the loss stays")


def _gib(peak: Peak) -> str:
    return f"{peak.allocated / 2**30:.2f} GiB of tensors, {peak.reserved / 2**30:.2f} reserved"


def test_one_row_that_memory_does_not_hold_ends_the_run_with_what_helps(longer, memory):
    one, eight = (memory.peak(lambda rows=rows: longer.run(rows=rows)) for rows in (1, 8))
    memory.limit(one.allocated - (eight.allocated - one.allocated) / 14)  # half a row's less than one takes
    with pytest.raises(ModelError) as caught:
        longer.run(rows=8)
    memory.lift()
    assert caught.value.exit_code == 2
    said = str(caught.value)
    assert "does not hold one row of" in said and "train.gradient_checkpointing=true" in said
    run = longer.run(rows=1)
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished", "with memory it trains"


def test_answers_that_memory_does_not_hold_are_given_fewer_at_once(long, settings, memory, capfd):
    base, *_ = long
    tree = settings(dtype="float32").model_dump(mode="json")
    config = Config.model_validate({**tree, "model": {**tree["model"], "name": str(base)}})
    model, tokenizer = load_model(config.model, config.hardware), load_tokenizer(config.model)
    # They begin each in its own way: a beginning that all share would be read once.
    texts = [f"{n} {'is my order here? ' * (4 if REHEARSAL else 150)}" for n in range(64)]
    asked = [Prompt(f"{n:02}", [{"role": "user", "content": t}], {}, {}, str(n)) for n, t in enumerate(texts)]

    def answers(size: int) -> list[tuple[str, str]]:
        made = generate(
            model,
            tokenizer,
            asked,
            decoding="greedy",
            max_new_tokens=4,
            batch_size=size,
            seed=1,
            sampling=Sampling(),
            title="asked",
        )
        return [(answer.id, answer.output) for answer in made]

    free: list[list[tuple[str, str]]] = []
    half = memory.peak(lambda: answers(32))
    whole = memory.peak(lambda: free.append(answers(64)))
    assert half.reserved < whole.allocated, f"half {half}, whole {whole}"
    memory.limit((half.reserved + whole.allocated) / 2)
    capfd.readouterr()
    tight = answers(64)
    memory.lift()
    assert "memory does not hold 64 prompts at once; going on with 32" in " ".join(
        capfd.readouterr().out.split()
    )
    assert tight == free[0]


def spoiling(monkeypatch: pytest.MonkeyPatch, factor: float, steps: set[int], loss_too: bool) -> None:
    """From the step after so many on, the gradient (or the loss as well) is multiplied by a factor."""
    original = CausalTrainer.compute_loss

    def compute(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, *args, **kwargs)
        if self.model.training and self.state.global_step in steps:
            if loss_too:
                return loss * factor
            loss.register_hook(lambda gradient: gradient * factor)
        return loss

    monkeypatch.setattr(CausalTrainer, "compute_loss", compute)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_no_number_stops_the_run_with_its_batch_saved(what, settings, prepared, tmp_path, monkeypatch):
    spoiling(monkeypatch, float("nan"), {2}, loss_too=what == "loss")
    with pytest.raises(InvalidRunError) as caught:
        train(settings(max_steps=4), tmp_path, prepared, None)
    assert caught.value.exit_code == 4 and f"the {what} at step 3 is no number" in str(caught.value)
    (run,) = (tmp_path / "runs").iterdir()
    left = json.loads((run / "broken_batch.json").read_text())
    assert (left["step"], left["what"]) == (3, what) and len(left["text"]) == 8
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that does not compute in bfloat16."""
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: torch.float16)


@on_cuda_only
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_float16_overflow_leaves_a_step_out_and_is_counted(
    method, float16, settings, prepared, tmp_path, monkeypatch, measured
):
    config = settings(method, dtype="float32", max_steps=6)
    sound = train(config, tmp_path / "sound", prepared, None)
    spoiling(monkeypatch, float("inf"), {3}, loss_too=False)
    run = train(config, tmp_path / "overflowed", prepared, None)
    lines = [line for line in read_metrics(run) if line["kind"] == "train"]
    counts = [line["fp16_overflows"] for line in lines]
    assert counts[3] == counts[2] + 1, counts
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["fp16_overflows"] == counts[-1]
    assert losses_of(sound)[-1] < losses_of(sound)[0]
    assert losses_of(run)[:4] == pytest.approx(losses_of(sound)[:4], abs=1e-3)
    assert losses_of(run)[4:] != losses_of(sound)[4:], "the step was not left out"
    natural = json.loads((sound / "manifest.json").read_text())["fp16_overflows"]
    measured(f"{method} in float16: {natural} steps left out by themselves, {counts[-1]} with one broken")


@on_cuda_only
def test_ten_float16_overflows_in_a_row_are_told(float16, settings, prepared, tmp_path, monkeypatch):
    spoiling(monkeypatch, float("inf"), set(range(12)), loss_too=False)
    config = settings("lora", dtype="float32", max_steps=12, num_train_epochs=2)
    run = train(config, tmp_path, prepared, None)
    assert any("10 steps in a row were left out" in message for message in events(run)), events(run)


def test_a_model_that_memory_does_not_hold_is_told_with_exit_code_two(long, pristine, memory, capfd):
    """Through the command; there is no memory but for what has been taken before."""
    base, *_ = long
    memory.limit(0 if REHEARSAL else torch.cuda.memory_reserved() + 2**21)
    assert casekit("train", f"model.name={base}", "-p", str(pristine), "train.max_steps=1") == 2
    memory.lift()
    said = " ".join(capfd.readouterr().err.split())
    assert "error" in said and "memory does not hold" in said and "Traceback" not in said
