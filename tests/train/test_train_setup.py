"""What the trainer is set up with: one device, frozen bases as they were loaded, who is told what."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

import kit
from kit.config.errors import ConfigError
from kit.hooks import Hooks
from kit.hooks import Metric as HookMetric
from kit.models.loading import load_tokenizer
from kit.train.examples import tokenise
from kit.train.manifest import code_sha256, environment, golden_choice
from kit.train.progress import Bar, progress_bar
from kit.train.setup import make_trainer, on_one_device, training_arguments
from kit.train.stages import train


def test_another_number_of_processes_than_was_set_is_refused(settings, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="started 4 processes, and the settings say 1") as caught:
        train(settings(), tmp_path, prepared, None)
    assert caught.value.exit_code == 2 and "hardware.num_processes=4" in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_world_of_one_is_no_launcher(settings, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train(settings(max_steps=1), tmp_path, prepared, None).is_dir()


def test_several_gpus_in_sight_do_not_change_the_batch(settings, tmp_path):
    config = settings(global_batch_size=8, per_device_train_batch_size=2)
    arguments = training_arguments(config, tmp_path, None, validates=False)
    arguments._n_gpu = 4  # as on a machine with four
    assert arguments.train_batch_size == 8
    assert on_one_device(arguments).train_batch_size == 2
    assert arguments.gradient_accumulation_steps == 4


def trainer_of(config, tmp_path):
    tokenizer = load_tokenizer(config.model)
    messages = [{"role": "user", "content": "hello you"}, {"role": "assistant", "content": "well met"}]
    examples = {"train": tokenise([{"messages": messages}] * 16, tokenizer, config), "valid": []}
    (tmp_path / "run").mkdir()
    return make_trainer(config, tmp_path / "run", examples, tokenizer, None, None, "base")[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_frozen_base_stays_as_small_as_it_was_loaded(method, settings, tmp_path):
    """What decides whether 8B fits 24 GB and 72B in 4-bit fits 80 GB, on a base of thousands."""
    config = settings(method, gradient_checkpointing=True, max_steps=2, save_steps=2)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    trainer = trainer_of(config, tmp_path)
    frozen = [p for p in trainer.model.parameters() if not p.requires_grad]
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in frozen} <= {torch.bfloat16, torch.uint8}, "no copy in float32, not of a part"
    assert (torch.uint8 in {p.dtype for p in frozen}) == (method == "qlora")
    assert {p.dtype for p in trained} == {torch.float32}

    recomputed = []
    layer = trainer.model.get_base_model().model.layers[0]
    layer.self_attn.register_forward_hook(lambda *_: recomputed.append(1))
    before = {n: p.clone() for n, p in trainer.model.named_parameters() if "lora_B" in n}
    trainer.train()
    assert layer._gradient_checkpointing_func.keywords == {"use_reentrant": False}
    assert len(recomputed) == 3 * 2 * 1, "trial and steps run the layer, and again for the backward pass"
    moved = [n for n, p in trainer.model.named_parameters() if n in before and not p.equal(before[n])]
    assert len(moved) == len(before), "every adapter gets its gradient through the checkpoints"

    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint-2"
    assert not (checkpoint / "model.safetensors").exists()
    adapter = sum(p.numel() for p in trained) * 4
    assert (checkpoint / "adapter_model.safetensors").stat().st_size < adapter * 1.2 + 4096
    optimiser = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
    assert len(optimiser) == len(trained), "no moments of frozen weights"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_validation_leaves_the_gradients_of_later_steps_alone(method, settings, tmp_path):
    """bitsandbytes turned 4-bit weights into a form without gradients, on CPUs with AVX512-BF16."""
    trainer = trainer_of(settings(method), tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))

    def gradients() -> dict[str, torch.Tensor]:
        trainer.model.train().zero_grad()
        trainer.model(**batch, use_cache=False).loss.backward()
        return {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}

    before = gradients()
    with torch.no_grad():
        trainer.model.eval()(**batch, use_cache=False)
    after = gradients()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert max(float(gradient.abs().max()) for gradient in before.values()) > 0


def test_the_code_is_named_by_its_bytes_wherever_it_lies(tmp_path):
    package = Path(kit.__file__).parent
    copy = tmp_path / "site-packages" / "kit"
    shutil.copytree(package, copy)
    (copy / "_scaffold").mkdir()
    (copy / "_scaffold" / "copier.yml").write_text("only in a wheel")
    assert code_sha256(copy) == code_sha256(package)
    with (copy / "train" / "stages.py").open("a") as file:
        file.write("# changed\n")
    assert code_sha256(copy) != code_sha256(package)


def test_the_gpu_and_its_cuda_are_named(monkeypatch):
    facts = SimpleNamespace(name="NVIDIA L4", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda on: facts)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = environment(torch.device("cuda"))
    assert (found["gpu"], found["gpu_memory_gib"], found["cuda"]) == ("NVIDIA L4", 24.0, "13.0")
    assert "gpu" not in environment(torch.device("cpu"))


def test_a_metric_of_the_project_is_bound_with_its_hooks(settings, tmp_path):
    module = tmp_path / "src" / "mine.py"
    module.parent.mkdir()
    module.write_text("metrics = {}")
    hooks = Hooks(metrics={"mine": HookMetric("Mine", lambda a, b: [])}, files=(module,))
    evaluate = settings().evaluate.model_validate({"metrics": ["token_f1", "mine"]})
    config = settings().model_copy(update={"evaluate": evaluate})
    assert golden_choice(config, tmp_path, hooks)["files"] == {}, "a metric of the kit's needs no hook"
    config = config.model_copy(update={"train": config.train.model_copy(update={"golden_metric": "mine"})})
    assert list(golden_choice(config, tmp_path, hooks)["files"]) == ["src/mine.py"]
    assert golden_choice(settings(), tmp_path, hooks) == {}


def test_the_bar_says_what_runs_while_no_step_does():
    out = io.StringIO()
    with progress_bar(Console(file=out, force_terminal=True, width=120)) as progress:
        bar = Bar(progress)
        bar.on_train_begin(None, SimpleNamespace(max_steps=10, global_step=4), None)
        with bar.doing("answers to validation prompts"):
            progress.refresh()
            assert "answers to validation prompts" in out.getvalue()
        assert [task.description for task in progress.tasks] == ["training"]
        assert progress.tasks[0].completed == 4


@pytest.mark.slow
def test_validation_is_told_apart_into_loss_and_answers(settings, prepared, tmp_path, monkeypatch):
    told = []
    original = Bar.doing
    monkeypatch.setattr(Bar, "doing", lambda self, what: (told.append(what), original(self, what))[1])
    run = train(settings(), tmp_path, prepared, lambda model, tokenizer: 0.5)
    assert told == [
        "trying the longest batches",
        *["validation loss", "answers to validation prompts"] * 2,
    ]
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"


def test_the_version_of_the_kernels_for_packed_rows_is_in_the_manifest(monkeypatch):
    monkeypatch.setattr("kit.train.manifest.version", lambda package: f"{package} 2.8")
    assert environment(torch.device("cpu"))["packages"]["flash-attn"] == "flash-attn 2.8"
