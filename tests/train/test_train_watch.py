"""What is told while a run is on: gradients that are no numbers, overflows, findings, speed, progress."""

import copy
import io
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from train_world import ARCHITECTURE
from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer, TrainerCallback

from kit.config.errors import InvalidRunError
from kit.models.loading import load_tokenizer
from kit.train import progress
from kit.train import watch as watching
from kit.train.examples import tokenise
from kit.train.flops import Cost, cost_of, mean_context, peak_flops
from kit.train.metrics import read_metrics, watch_summary
from kit.train.progress import Bar, Lines, live, progress_bar
from kit.train.setup import make_trainer
from kit.train.stages import train

SAID = {"loss": 1.2345, "learning_rate": 2e-5, "tokens_per_second": 5120.0, "memory_share": 0.71}


def trainer_of(config: Any, tmp_path: Any, texts: list[str]) -> Any:
    tokenizer = load_tokenizer(config.model)
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "well met"}]}
        for text in texts
    ]
    examples = {"train": tokenise(rows, tokenizer, config), "valid": []}
    (tmp_path / "run").mkdir()
    return make_trainer(config, tmp_path / "run", examples, tokenizer, None, None, "base")[0]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_no_number_stops_the_run_before_a_weight_moves_and_its_batch_is_left(
    broken, settings, tmp_path, monkeypatch
):
    """In one of two passes of a step; the other pass and its rows are sound."""
    original = Trainer.compute_loss

    def compute(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        bad = (inputs["input_ids"] == marked).any()
        loss = original(self, model, inputs, *args, **kwargs)
        if bad and broken == "loss":
            return loss * math.inf
        if bad:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss

    config = settings("lora", per_device_train_batch_size=4, max_steps=3, save_steps=100)
    trainer = trainer_of(config, tmp_path, ["hello you"] * 15 + ["Q"])
    marked = trainer.processing_class("Q")["input_ids"][0]
    monkeypatch.setattr(Trainer, "compute_loss", compute)
    before: dict[str, torch.Tensor] = {}

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            parameters = trainer.model.named_parameters()
            before.update({name: value.detach().clone() for name, value in parameters})

    trainer.add_callback(Keep())
    with pytest.raises(InvalidRunError) as caught:
        trainer.train()
    assert f"the {broken} at step {trainer.state.global_step + 1} is no number" in str(caught.value)
    assert caught.value.exit_code == 4
    assert all(torch.equal(before[name], value) for name, value in trainer.model.named_parameters())
    left = json.loads((tmp_path / "run" / "broken_batch.json").read_text())
    assert left["what"] == broken and left["step"] == trainer.state.global_step + 1
    assert len(left["text"]) == 4, "the pass that broke, not the other one"
    assert sum("Q" in text for text in left["text"]) == 1


@pytest.mark.slow
def test_float16_overflow_is_counted_and_no_error(settings, tmp_path, monkeypatch):
    """A gradient 32 times that of the loss, scaled by 2^126, is infinite: those steps are left out."""
    original = Trainer.compute_loss

    def steep(*args: Any, **kwargs: Any) -> Any:
        loss = original(*args, **kwargs)
        loss.register_hook(lambda gradient: gradient * 32)
        return loss

    monkeypatch.setattr(Trainer, "compute_loss", steep)
    trainer = trainer_of(settings("lora", max_steps=12, save_steps=100), tmp_path, ["hello you"] * 16)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=0.5)
    trainer.accelerator.scaler = scaler
    trainer.accelerator.unscale_gradients = lambda *_: scaler.unscale_(trainer.optimizer.optimizer)
    told: list[str] = []
    trainer.tell = told.append
    trainer.train()
    lines = [line for line in read_metrics(tmp_path / "run") if line["kind"] == "train"]
    counts = [line["fp16_overflows"] for line in lines]
    assert counts == [min(step, counts[-1]) for step in range(1, 13)], "at first, until the scale is right"
    assert 2 <= counts[-1] < 10
    assert watch_summary(read_metrics(tmp_path / "run"))["fp16_overflows"] == counts[-1]
    assert not any("overflow" in line for line in told)
    for _ in range(10):
        trainer.overflowed = True
        trainer.callback_handler.on_optimizer_step(trainer.args, trainer.state, trainer.control)
    assert sum("10 steps in a row were left out" in line for line in told) == 1


@pytest.mark.slow
def test_findings_are_in_metrics_manifest_and_terminal(settings, prepared, tmp_path, monkeypatch, capfd):
    original = Trainer.log

    def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:  # a curve with a spike and, later, a second one
            logs["loss"] = 3.0 - 0.1 * self.state.global_step + 4.0 * (self.state.global_step in (12, 16))
        original(self, logs, *args, **kwargs)

    monkeypatch.setattr(Trainer, "log", log)
    config = settings("lora", num_train_epochs=3, eval_steps=100, save_steps=100)
    run = train(config, tmp_path, prepared, None)
    events = [line for line in read_metrics(run) if line["kind"] == "event"]
    assert [(line["event"], line["step"]) for line in events] == [("spike", 12), ("spike", 16)]
    assert "jumped to 5.8 from about" in events[0]["message"] and "learning_rate" in events[0]["advice"]
    assert events[0]["epoch"] == 2.0 and events[0]["value"] > 3
    manifest = json.loads((run / "manifest.json").read_text())
    assert [found["step"] for found in manifest["findings"]] == [12, 16]
    assert manifest["loss"]["max_fluctuation"] > 3
    assert manifest["tokens_per_second"] > 0 and manifest["mfu"] is None, "no peak is known of a CPU"
    assert manifest["peak_flops"] is None and manifest["flops_per_token"] > 6 * 8192
    assert manifest["memory_peak"]["gib"] > 0.1 and manifest["fp16_overflows"] is None
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("the loss jumped") == 1 and "step 12: the loss jumped" in said, "told once"


@pytest.fixture(scope="module")
def deep() -> Any:
    """A network of eight layers, of which the first costs little of the whole."""
    shape = {**ARCHITECTURE, "num_hidden_layers": 8}
    return Qwen3ForCausalLM(Qwen3Config(**shape))


@pytest.mark.parametrize("trained", ["all", "adapters", "last two layers"])
def test_flops_are_those_that_torch_counts(trained, deep):
    rows, length = 4, 100
    model = copy.deepcopy(deep)
    if trained == "adapters":
        model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    if trained == "last two layers":
        for name, parameter in model.named_parameters():
            parameter.requires_grad = "layers.6." in name or "layers.7." in name
    ids = torch.zeros((rows, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    context = mean_context([length] * rows)
    assert context == length
    ours = cost_of(model).per_token(context) * rows * length
    assert ours == pytest.approx(counted.get_total_flops(), rel=0.03)


def test_a_reference_costs_a_forward_pass_more(deep):
    cost = cost_of(deep)
    assert cost.matrices == 3 * cost.forward
    assert cost.per_token(50, references=1) == pytest.approx(cost.per_token(50) * 4 / 3)


def test_rows_of_unlike_length_count_by_the_pairs_they_have():
    assert mean_context([100, 100]) == 100
    assert mean_context([10, 1000]) == (100 + 1_000_000) / 1010


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("", None),
    ],
)
def test_the_peak_is_known_by_the_devices_name(name, tflops):
    assert peak_flops(name) == (None if tflops is None else tflops * 1e12)


@pytest.mark.slow
def test_mfu_is_logged_where_the_peak_is_known(settings, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.train.watch.peak_flops", lambda name: 1e12)
    run = train(settings(max_steps=2), tmp_path, prepared, None)
    manifest = json.loads((run / "manifest.json").read_text())
    lines = [line for line in read_metrics(run) if line["kind"] == "train"]
    for line in lines:
        expected = line["tokens_per_second"] * manifest["flops_per_token"] / 1e12
        assert line["mfu"] == pytest.approx(expected, abs=1e-4)
    assert manifest["mfu"] == pytest.approx(sum(line["mfu"] for line in lines) / 2, abs=1e-4)


@pytest.mark.parametrize("processes", [1, 4])
def test_mfu_is_of_the_peak_of_all_devices(settings, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(watching, "peak_flops", lambda name: 1e12)
    monkeypatch.setattr(watching, "cost_of", lambda model: Cost(1e9, 0.0, 0.0, 0.0))
    monkeypatch.setattr(watching, "note", lambda run, **facts: None)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    arguments = SimpleNamespace(device=torch.device("cpu"))
    trainer = SimpleNamespace(model=None, args=arguments, train_lengths=[5, 7])
    share = watching.share_of_peak(trainer, settings(), tmp_path)
    assert share(processes * 500) == pytest.approx(0.5), "tokens a second are of all processes too"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_fits_the_terminal_and_says_what_counts(width):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width)
    with progress_bar(console) as shown, (bar := Bar(shown)).doing("answers to validation prompts"):
        bar.on_train_begin(None, SimpleNamespace(max_steps=500, global_step=120), None)
        bar.on_log(None, None, None, {"eval_task_score": 0.912})
        bar.on_log(None, None, None, {**SAID, "mfu": 0.31})
        text = bar.progress.tasks[1].fields["shown"]
        lines = shown.console.render_lines(shown.get_renderable(), pad=False)
    assert len(lines) == 2, "they do not wrap"
    assert all(sum(segment.cell_length for segment in line) <= width for line in lines)
    doing, told = ("".join(segment.text for segment in line) for line in lines)
    assert "answers to validation prompts" in doing
    assert "120/500" in told and text in told and "…" not in told, "nothing is cut off"
    assert "--:--" in told, "the time left has its place"
    assert "loss 1.234" in text
    if width >= 80:
        assert "5,120 tok/s" in text and "mem 71%" in text and "lr 2e-05" in text
    if width >= 120:
        assert "score 0.912" in text and "MFU 31%" in text


def test_a_log_without_a_terminal_gets_a_line_a_minute(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    out = io.StringIO()
    state = SimpleNamespace(max_steps=500, global_step=100)
    with live(Console(file=out, width=200)) as shown:
        assert isinstance(shown, Lines)
        shown.on_train_begin(None, state, None)
        for state.global_step in range(101, 113):  # a step every ten seconds
            clock.now += 10.0
            shown.on_step_end(None, state, None)
            shown.on_log(None, state, None, SAID)
        clock.now += 61.0
        with shown.doing("answers to validation prompts"):
            clock.now += 1.0
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "step 106 of 500: loss 1.234, 5,120 tok/s, mem 71%, lr 2e-05, 66 min left"
    assert lines[1].startswith("step 112 of 500: loss")
    assert lines[2].startswith("step 112 of 500: answers to validation prompts")
