"""`casekit train` on a GPU, and every stage and method there: what is loaded, trained, saved and measured."""

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_world import REHEARSAL, WHERE, casekit, narrow, newest_run, on_a_gpu, on_cuda_only
from support_matrix import STAGES, settings_of
from train_project import loaded
from train_rewards import FIRST_HALF
from train_world import dialogue, losses_of, refusal
from transformers import Qwen3Model

from kit.config.schema import Config
from kit.models.loading import device, load_base, load_model, load_tuned
from kit.train.flops import peak_flops
from kit.train.methods import load_for_training
from kit.train.metrics import read_metrics
from kit.train.setup import mixed_precision
from kit.train.stages import train

pytestmark = [on_a_gpu, pytest.mark.slow]

needs_4_bits = pytest.mark.skipif(
    not find_spec("bitsandbytes"),
    reason="needs bitsandbytes, whose kernels multiply 4-bit weights",
)


def lines_of(run: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(run) if line["kind"] == kind]


def assert_whole(run: Path, steps: int, learns: bool = True) -> None:
    """A run to its end: status, device, memory, speed, curves and golden checkpoint are there and sound.

    Args:
        learns: whether there must be a gradient; not where all answers may be worth the same.
    """
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("finished", steps)
    environment, trained = manifest["environment"], lines_of(run, "train")
    assert environment["device"].startswith(WHERE)
    assert len(trained) == steps and all(math.isfinite(line["loss"]) for line in trained)
    assert all(line["grad_norm"] > 0 for line in trained) or not learns
    assert all(0 < line["memory_share"] < 1 for line in trained)
    assert 0 < manifest["memory_peak"]["share"] < 1 and manifest["memory_peak"]["gib"] > 0
    assert manifest["tokens_per_second"] > 0
    assert list((run / "golden").glob("*.safetensors")) and manifest["golden"]["step"] > 0
    if REHEARSAL:
        assert manifest["mfu"] is None and "gpu" not in environment
        return
    facts = torch.cuda.get_device_properties(0)
    assert environment["gpu"] == facts.name and environment["cuda"] == torch.version.cuda
    assert environment["gpu_memory_gib"] == pytest.approx(facts.total_memory / 2**30, abs=0.1)
    assert manifest["memory_peak"]["gib"] < environment["gpu_memory_gib"]
    if manifest["flops_per_token"] and peak_flops(facts.name):
        assert manifest["peak_flops"] == peak_flops(facts.name)
        assert all(0 <= line["mfu"] < 1 for line in trained)


@pytest.fixture(scope="module")
def project(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(pristine, tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="module")
def pairs(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose rows have an answer that is preferred, and another one."""
    root = shutil.copytree(pristine, tmp_path_factory.mktemp("pairs") / "project")
    shutil.rmtree(root / "data", ignore_errors=True)
    rows = []
    for number, split in enumerate(["train"] * 24 + ["valid"] * 8 + ["test"] * 8):
        asked, chosen = dialogue(number)
        asked["content"] += f" It is number {number}."
        rows.append({"messages": [asked], "chosen": chosen, "rejected": refusal(number), "split": split})
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


KINDS = {
    "sft, lora, packed": ("method=lora", "train.packing=true"),
    "sft, full, padded": ("method=full",),
    "sft, qlora": ("method=qlora",),
    "dpo": ("method=lora", "train.stage=dpo"),
    "grpo": ("train.stage=grpo", "train.grpo.num_generations=4", "train.grpo.max_completion_length=8"),
}
STEPS = {"dpo": 3, "grpo": 3}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=needs_4_bits if "qlora" in k else ()) for k in KINDS])
def test_the_command_trains_to_a_golden_checkpoint(kind, project, pairs, capfd):
    root, steps = (pairs if kind == "dpo" else project), STEPS.get(kind, 6)
    words = ["train.logging_steps=1", *KINDS[kind], *([f"train.max_steps={steps}"] if kind == "grpo" else [])]
    assert casekit("data", "prepare", *words, "-p", str(root)) == 0, capfd.readouterr().err
    assert casekit("train", *words, "-p", str(root)) == 0, capfd.readouterr().err
    said, run = " ".join(capfd.readouterr().err.split()), newest_run(root)
    assert_whole(run, steps, learns=kind != "grpo")
    assert f"on {WHERE}" in said and "Traceback" not in said
    if kind.startswith("sft"):
        assert losses_of(run)[-1] < losses_of(run)[0]
        assert "the longest batches fit" in said
    manifest = json.loads((run / "manifest.json").read_text())
    assert bool(manifest["packing"]) == ("packed" in kind)
    tuned = load_tuned(run / "golden", loaded(root, *words).config)
    assert {one.device.type for one in tuned.parameters()} == {WHERE}


def test_auto_is_the_gpu_and_its_number_is_that_of_the_trainer(settings):
    from transformers import TrainingArguments

    config = settings()
    assert config.hardware.device == "auto" and device(config.hardware).type == WHERE
    if not REHEARSAL:  # else transformers takes a model for one that is spread over several GPUs
        assert TrainingArguments(report_to=[]).device == device(config.hardware)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_weights_are_of_the_type_that_the_settings_say(dtype, settings):
    config = settings(dtype=dtype)
    model = load_model(config.model, config.hardware)
    kinds = {(one.dtype, one.device.type) for one in model.parameters()}
    assert kinds == {(narrow() if dtype == "auto" else getattr(torch, dtype), WHERE)}


@pytest.mark.parametrize("method", ["full", "lora", pytest.param("qlora", marks=needs_4_bits)])
def test_what_trains_is_float32_beside_a_base_of_its_own_type(method, settings):
    model = load_for_training(settings(method))
    trained = {one.dtype for one in model.parameters() if one.requires_grad}
    frozen = {one.dtype for one in model.parameters() if not one.requires_grad}
    assert trained == {torch.float32}
    assert frozen == {"full": set(), "lora": {narrow()}, "qlora": {narrow(), torch.uint8}}[method]
    assert {one.device.type for one in model.parameters()} == {WHERE}


def test_losses_are_computed_in_bfloat16_and_answers_in_the_weights_own_type(
    settings, prepared, tmp_path, monkeypatch
):
    seen: dict[str, set[bool]] = {"losses": set(), "answers": set()}
    now, original = ["losses"], Qwen3Model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        seen[now[0]].add(torch.is_autocast_enabled(WHERE))
        return original(*args, **kwargs)

    def answer(model: Any, tokenizer: Any) -> float:
        now[0] = "answers"
        model(torch.arange(5, device=WHERE)[None])
        now[0] = "losses"
        return 0.5

    monkeypatch.setattr(Qwen3Model, "forward", forward)
    train(settings("full", max_steps=2, eval_steps=1), tmp_path, prepared, answer)
    assert seen["answers"] == {False}
    mixed = mixed_precision(torch.device(WHERE)) == torch.bfloat16
    assert seen["losses"] == {mixed} and (REHEARSAL or mixed == (narrow() == torch.bfloat16))


METHODS = ("full", "freeze", "lora", "qlora", "prefix", "prompt", "ia3", "adapter", "oft")
CELLS = [("sft", method) for method in METHODS] + [
    (stage, "lora") for stage in STAGES if stage not in ("sft", "grpo")
]
CELLS += [("dpo", "full"), ("grpo", "full")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {stage: write(tmp_path_factory.mktemp(stage), 8, 2) for stage, write in STAGES.items()}


@pytest.mark.parametrize(
    ("stage", "method"),
    [pytest.param(*cell, marks=needs_4_bits if "qlora" in cell else ()) for cell in CELLS],
)
def test_every_stage_and_method_trains_and_loads(stage, method, base, data, tmp_path):
    config = Config.model_validate(settings_of(stage, method, "", base))
    run = train(config, tmp_path, data[stage], task_score=None, rewards=[FIRST_HALF])
    assert_whole(run, 4)
    if stage != "grpo":
        losses = losses_of(run)
        assert all(later < losses[0] for later in losses[1:]), losses
    tuned, base_model = load_tuned(run / "golden", config), load_base(config, scores=stage == "reward")
    ids = torch.arange(12, device=WHERE)[None] + 5
    with torch.no_grad():
        logits, before = tuned(ids).logits, base_model(ids).logits
    assert logits.device.type == WHERE and logits.isfinite().all()
    assert not torch.equal(logits[..., -before.shape[1] :, :], before), "it learned nothing"


@on_cuda_only
@needs_4_bits
def test_four_bit_weights_are_bitsandbytes_own_on_the_gpu(settings):
    from bitsandbytes.nn import Params4bit

    model = load_base(settings("qlora"))
    packed = [one for one in model.parameters() if isinstance(one, Params4bit)]
    assert packed and all(one.quant_state is not None and one.device.type == "cuda" for one in packed)


def test_the_memory_peak_is_that_of_the_run_and_not_of_what_ran_before(settings, prepared, tmp_path):
    if not REHEARSAL:
        held = torch.empty(2**31, dtype=torch.uint8, device="cuda")
        del held
        torch.cuda.empty_cache()
    run = train(settings(max_steps=1), tmp_path, prepared, None)
    probe = json.loads((run / "manifest.json").read_text())["probe"]
    assert probe["memory_gib"] > 0
    assert REHEARSAL or probe["memory_gib"] < 1.9
