"""Packing changes no result: loss, gradients and whole runs are those of padded batches, or it is refused."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from train_world import dialogue, losses_of
from transformers import Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, Trainer, TrainerCallback

from kit import cli
from kit.config.errors import InvalidRunError
from kit.config.schema import Config
from kit.models.loading import load_tokenizer
from kit.scaffold.new import new_project
from kit.train.examples import tokenise
from kit.train.methods import load_for_training
from kit.train.metrics import read_metrics
from kit.train.packed import count_rows, pack_batch, packed_row
from kit.train.setup import make_trainer
from kit.train.stages import train

Pass = dict[str, Any]


def examples_of(config: Config, count: int = 8) -> list[dict[str, list[int]]]:
    """Dialogues of one to four turns: a short one beside one of five times its length."""
    dialogues = [
        [turn for part in range(number % 4 + 1) for turn in dialogue(number + part)]
        for number in range(count)
    ]
    return tokenise([{"messages": messages} for messages in dialogues], load_tokenizer(config.model), config)


def samples_of(config: Config) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.tensor(row["input_ids"]), torch.tensor(row["labels"])) for row in examples_of(config)]


def padded(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> Pass:
    ids = pad_sequence([ids for ids, _ in samples], batch_first=True)
    labels = pad_sequence([labels for _, labels in samples], batch_first=True, padding_value=-100)
    mask = pad_sequence([torch.ones_like(ids) for ids, _ in samples], batch_first=True)
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def loss_and_gradients(model: Any, passes: list[Pass], labelled: int) -> dict[str, torch.Tensor]:
    """The loss over `labelled` tokens, summed over passes, and the gradient of each trained parameter."""
    model.train().zero_grad()
    total = torch.zeros(())
    for one in passes:
        loss = model(**{"use_cache": False, **one}, num_items_in_batch=labelled).loss
        loss.backward()
        total += loss.detach()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    return {"loss": total, **found}


def assert_equal_to_rounding(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    errors = {
        name: float((found[name] - wanted[name]).norm() / (wanted[name].norm() + 1e-12)) for name in wanted
    }
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] < 2e-5, f"{worst} is off by {errors[worst]:.2g}"


def moved_adapter(config: Config) -> Any:
    """The model as it is trained; an adapter that has moved, for one that has not changes nothing."""
    model = load_for_training(config)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "pretrain"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_padded_padding_free_and_packed_have_the_same_loss_and_gradients(method, stage, settings):
    config = settings(method, stage=stage)
    model, samples = moved_adapter(config), samples_of(config)
    batch = padded(samples)
    labelled = int((batch["labels"][:, 1:] != -100).sum())
    wanted = loss_and_gradients(model, [batch], labelled)
    longest = max(len(ids) for ids, _ in samples)
    for capacity in (longest, 2 * longest, 10_000):
        rows = pack_batch(batch, capacity)
        assert_equal_to_rounding(loss_and_gradients(model, rows, labelled), wanted)
    assert len(rows) == 1, "all in one row: padding-free"
    one_by_one = [packed_row([sample]) for sample in samples]
    assert_equal_to_rounding(loss_and_gradients(model, one_by_one, labelled), wanted)


def ones_as_mask(row: Pass) -> Pass:
    return {**row, "attention_mask": torch.ones_like(row["input_ids"])}


def with_cache(row: Pass) -> Pass:
    return {**row, "use_cache": True}


def without_positions(row: Pass) -> Pass:
    return {name: value for name, value in row.items() if name != "position_ids"}


def without_the_border(row: Pass) -> Pass:
    """The label of a sample's first token, which its neighbour's last would learn."""
    first = row["position_ids"] == 0
    return {**row, "labels": torch.where(first, row["input_ids"], row["labels"])}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("spoil", [ones_as_mask, with_cache, without_positions, without_the_border])
def test_what_is_known_to_leak_fails_the_same_test(spoil: Callable[[Pass], Pass], method, settings):
    config = settings(method, stage="pretrain")
    model, samples = moved_adapter(config), samples_of(config)
    batch = padded(samples)
    labelled = int((batch["labels"][:, 1:] != -100).sum())
    wanted = loss_and_gradients(model, [batch], labelled)
    row = packed_row(samples)
    assert_equal_to_rounding(loss_and_gradients(model, [row], labelled), wanted)
    with pytest.raises(AssertionError, match="is off by"):
        assert_equal_to_rounding(loss_and_gradients(model, [spoil(row)], labelled), wanted)


def test_a_row_begins_anew_with_each_sample():
    samples = [(torch.tensor(ids), torch.tensor(labels)) for ids, labels in SMALL]
    row = packed_row(samples)
    assert sorted(row) == ["input_ids", "labels", "position_ids"], "above all, no attention mask"
    assert row["input_ids"].tolist() == [[5, 6, 7, 8, 5, 9]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 0, 1]]
    assert row["labels"].tolist() == [[-100, 6, 7, -100, -100, 9]], "no first token is learned"


SMALL = [([5, 6, 7], [5, 6, 7]), ([8], [8]), ([5, 9], [-100, 9])]


@pytest.mark.parametrize("left", [False, True])
def test_padding_is_left_out_on_either_side(left):
    ids = torch.tensor([[5, 6, 7], [0, 0, 8]] if left else [[5, 6, 7], [8, 0, 0]])
    batch = {"input_ids": ids, "labels": ids, "attention_mask": (ids > 0).long()}
    (row,) = pack_batch(batch, 4)
    assert row["input_ids"].tolist() == [[5, 6, 7, 8]]
    assert [row["input_ids"].tolist() for row in pack_batch(batch, 3)] == [[[5, 6, 7]], [[8]]]


def test_rows_are_counted_batch_by_batch():
    assert count_rows([4, 4, 4, 4], 2, 8) == (2, 1.0)
    assert count_rows([4, 4, 4, 4], 3, 8) == (3, 16 / 24), "the fourth waits for another step"


class Gradients(TrainerCallback):
    """Keeps the gradients that the first optimiser step takes."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        self.found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        control.should_training_stop = True


def first_gradients(config: Config, folder: Path, takes_count: bool = True) -> dict[str, torch.Tensor]:
    """What the first step of a run takes, from the trainer's own loop."""
    tokenizer = load_tokenizer(config.model)
    folder.mkdir()
    examples = {"train": examples_of(config, 16), "valid": []}
    with pytest.MonkeyPatch.context() as patch:
        if not takes_count:
            for kind in (Qwen3ForCausalLM, Qwen3MoeForCausalLM):
                patch.setattr(kind, "accepts_loss_kwargs", False, raising=False)
        trainer, _ = make_trainer(config, folder, examples, tokenizer, None, None, "base")
    gradients = Gradients()
    trainer.add_callback(gradients)
    trainer.train()
    return gradients.found


@pytest.mark.slow
@pytest.mark.parametrize("takes_count", [True, False])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_however_a_global_batch_is_split_a_step_has_the_same_gradients(
    method, takes_count, settings, tmp_path, exact_arithmetic
):
    """Also for models whose own loss cannot be told how many labels the whole batch has."""

    def step(name: str, max_length: int = 256, **train: Any) -> dict[str, torch.Tensor]:
        config = settings(method, max_grad_norm=1e9, max_steps=1, **train)
        model = config.model.model_copy(update={"max_length": max_length})
        return first_gradients(config.model_copy(update={"model": model}), tmp_path / name, takes_count)

    wanted = step("whole", per_device_train_batch_size=8)
    for size in (1, 2, 4):
        assert_equal_to_rounding(step(f"split-{size}", per_device_train_batch_size=size), wanted)
    for row in (160, 256, 4096):
        assert_equal_to_rounding(step(f"packed-{row}", row, packing=True), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("takes_count", [True, False])
def test_a_mixture_of_experts_learns_the_same_however_its_batch_is_split(
    takes_count, settings, tmp_path, exact_arithmetic
):
    """How evenly the experts of a pass are used is no part of the loss: it depends on the cut."""
    torch.manual_seed(1)
    mixture = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=384,
            hidden_size=64,
            moe_intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            num_experts=4,
            num_experts_per_tok=2,
        )
    )
    shutil.copytree(settings().model.name, tmp_path / "base")
    mixture.save_pretrained(tmp_path / "base")

    def step(name: str, **train: Any) -> dict[str, torch.Tensor]:
        config = settings("lora", max_grad_norm=1e9, max_steps=1, **train)
        model = config.model.model_copy(update={"name": str(tmp_path / "base")})
        return first_gradients(config.model_copy(update={"model": model}), tmp_path / name, takes_count)

    wanted = step("whole", per_device_train_batch_size=8)
    assert_equal_to_rounding(step("split", per_device_train_batch_size=2), wanted)
    assert_equal_to_rounding(step("packed", packing=True), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["full sft", "lora sft", "qlora sft", "full pretrain"])
def test_a_packed_run_is_the_unpacked_one(case, settings, prepared, tmp_path, exact_arithmetic):
    method, stage = case.split()
    batches = {"global_batch_size": 7, "per_device_train_batch_size": 7, "num_train_epochs": 2}
    unpacked = train(settings(method, stage=stage, **batches), tmp_path / "a", prepared, None)
    packed = train(settings(method, stage=stage, packing=True, **batches), tmp_path / "b", prepared, None)
    before, after = read_metrics(unpacked), read_metrics(packed)
    assert [line["step"] for line in after] == [line["step"] for line in before]
    assert len(losses_of(packed)) == 14, "two epochs of seven steps, the last of them with fewer dialogues"
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
        values = [[line[name] for line in lines if name in line] for lines in (before, after)]
        assert values[1] == pytest.approx(values[0], rel=2e-5), name


@pytest.mark.slow
def test_packing_is_counted_and_measured_in_the_manifest(settings, prepared, tmp_path, capfd):
    run = train(settings("lora", packing=True), tmp_path, prepared, None)
    packing = json.loads((run / "manifest.json").read_text())["packing"]
    assert (packing["samples"], packing["attention"]) == (48, "sdpa")
    assert 6 <= packing["rows"] < 48, "at least one a step, and fewer than dialogues"
    rows = tokenise(
        [{"messages": dialogue(n)} for n in range(48)], load_tokenizer(settings().model), settings()
    )
    tokens = sum(len(row["input_ids"]) for row in rows)
    assert packing["fill"] == pytest.approx(tokens / (packing["rows"] * 256), abs=1e-4)
    assert packing["isolation"]["leak"] == 0 and packing["isolation"]["error"] < 1e-5
    said = " ".join(capfd.readouterr().err.split())
    assert f"packed: 48 samples an epoch in {packing['rows']} rows of up to 256 tokens" in said
    unpacked = train(settings("lora", max_steps=1), tmp_path, prepared, None)
    assert json.loads((unpacked / "manifest.json").read_text())["packing"] is None


@pytest.mark.slow
def test_a_broken_loss_leaves_its_whole_batch_unpacked(settings, prepared, tmp_path, monkeypatch):
    def broken(self: object, model: Any, *_: Any, **__: Any) -> torch.Tensor:
        return next(model.parameters()).sum() * math.nan

    monkeypatch.setattr(Trainer, "compute_loss", broken)
    with pytest.raises(InvalidRunError, match="step 1 is no number"):
        train(settings(packing=True), tmp_path, prepared, None)
    (run,) = (tmp_path / "runs").iterdir()
    assert len(json.loads((run / "broken_batch.json").read_text())["text"]) == 8


def test_packed_batches_need_not_divide(settings):
    with pytest.raises(ValueError, match="must be a multiple"):
        settings(global_batch_size=6, per_device_train_batch_size=4)
    assert settings(global_batch_size=6, per_device_train_batch_size=4, packing=True).train.packing


def casekit(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The command as it is typed; its exit code."""
    monkeypatch.setattr(sys, "argv", ["casekit", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.slow
def test_a_generated_project_packs_by_one_word(base, tmp_path, monkeypatch):
    project = tmp_path / "bank"
    new_project(project, {"recipe": "finance"}, defaults=True)
    words = [
        "--project",
        str(project),
        f"model={{name: {base}, max_length: 1024}}",
        "data.sources=[{grammar: conf/dialogues.yaml, dialogues: 60}]",
        "train.global_batch_size=8",
        "train.max_steps=2",
        "train.golden_prompts=2",
        "evaluate.max_new_tokens=4",
        "hardware.num_threads=1",
        "tracking.report_to=[]",
    ]
    assert casekit(monkeypatch, "data", "prepare", *words) == 0
    assert casekit(monkeypatch, "train", *words, "train.packing=true") == 0
    (manifest,) = (json.loads(path.read_text()) for path in project.glob("runs/*/manifest.json"))
    assert (manifest["status"], manifest["steps"], manifest["method"]) == ("finished", 2, "full")
    packing = manifest["packing"]
    assert 0 < packing["rows"] < packing["samples"] and 0 < packing["fill"] <= 1
    assert packing["isolation"]["leak"] == 0
    assert casekit(monkeypatch, "train", *words, "train.packing=yess") == 2
