"""`casekit train --processes 2` as a user types it: to the end, interrupted and resumed, and refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from train_project import loaded, write_project

import kit
from kit import pipeline
from kit.config import load_config
from kit.config.errors import ConfigError
from kit.config.schema_train import Hardware
from kit.launch.processes import launch_settings, needs_launch, threads_each
from kit.train.sharding import check_same_sharding, check_sharding, sharding_arguments

pytestmark = pytest.mark.slow

SHARED = "train.per_device_train_batch_size=4"
LONG = [
    SHARED,
    "train.num_train_epochs=8",
    "train.eval_steps=24",
    "train.save_steps=24",
    "model.dtype=float32",
]


@pytest.fixture(scope="module")
def project(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project") / "shared", base)


def casekit(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kit", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for_step(project: Path, step: int, process: subprocess.Popen[str]) -> Path:
    """The run that the process is at work on, once it has logged that step."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for path in project.glob("runs/*/metrics.jsonl"):
            if any(f'"step": {number},' in path.read_text() for number in range(step, step + 20)):
                return path.parent
        time.sleep(0.05)
    raise AssertionError(process.communicate(timeout=60))


def test_a_run_of_two_processes_is_interrupted_resumed_and_the_run_of_one(project):
    first = casekit("train", *LONG, "--processes", "2", "-p", str(project))
    run = wait_for_step(project, 3, first)
    trainer = json.loads((run / "lock").read_text())["process"]
    os.kill(trainer, signal.SIGSTOP)  # else it may be done before it is asked for
    with pytest.raises(ConfigError, match=f"is being trained by process {trainer} on this machine"):
        pipeline.resume(load_config(project, LONG))  # from another terminal
    os.kill(trainer, signal.SIGCONT)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    told = " ".join(said[1].split())
    assert told.count(f"`casekit train --resume -p {project}` continues it") == 1
    assert said[1].count("sft of") == 1, "one process speaks"
    assert "on cpu in 2 processes" in " ".join(said[1].split())

    second = casekit("train", "--resume", "-p", str(project))
    said = second.communicate(timeout=240)
    assert second.returncode == 0, said
    assert said[1].count("goes on with its words: ") == 1 and "hardware.num_processes=2" in said[1]
    assert said[0].split() == ["run", str(run)]
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("finished", 48)
    assert [session["processes"] for session in manifest["sessions"]] == [2, 2]

    alone = pipeline.train(load_config(project, LONG))
    ours, theirs = (load_file(one / "golden" / "adapter_model.safetensors") for one in (run, alone))
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-2) for name in theirs)


def test_two_machines_meet_at_the_address_of_the_first(project):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "train",
        SHARED,
        "train.max_steps=2",
        "hardware.num_machines=2",
        f"hardware.main_address=127.0.0.1:{port}",
        "-p",
        str(project),
    ]
    machines = [casekit(*words, f"hardware.machine_rank={rank}") for rank in (0, 1)]
    # Longer than the five minutes for which torch's launcher may wait for the other machine's last word.
    said = [machine.communicate(timeout=400) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert said[0][0].split()[-1] == said[1][0].split()[-1], "both name the run"
    assert "sft of" in said[0][1] and "sft of" not in said[1][1]


def test_what_goes_wrong_in_the_processes_is_said_once_with_its_code(project):
    process = casekit("train", "data.split.column=nowhere", SHARED, "--processes", "2", "-p", str(project))
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2, said
    assert said.count("error") == 1 and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hardware.num_processes=3"], "3 processes of 8 sequences each cannot share evenly"),
        (["hardware.num_machines=2"], "`hardware.main_address` is not set"),
        (["hardware.machine_rank=1"], "there is one"),
        (["hardware.num_machines=2", "hardware.machine_rank=2", "hardware.main_address=a:1"], "from 0 to 1"),
        (["hardware.sharding=fsdp"], "nothing to share out"),
        (["hardware.sharding=fsdp", "hardware.num_processes=2", "hardware.device=cpu"], "on GPUs only"),
        (["hardware.sharding=fsdp", "hardware.num_processes=2", "method=qlora"], "4-bit weights"),
        (["hardware.sharding=fsdp", "hardware.num_processes=2", "train.stage=dpo"], "a second pass"),
        (["hardware.sharding=zero3", "hardware.num_processes=2", "method=qlora"], "4-bit weights"),
        (["hardware.sharding=zero2", "hardware.num_processes=2", "hardware.device=cpu"], "on GPUs only"),
        (["hardware.sharding=zero2", "hardware.cpu_offload=true"], "has not tried it with zero2"),
        (["hardware.cpu_offload=true"], "hardware.sharding is none"),
    ],
)
def test_what_cannot_be_launched_is_refused_with_the_settings(words, said, project):
    words = ["train.global_batch_size=32", *words]
    with pytest.raises(ConfigError) as refused:
        loaded(project, *words)
    assert said in str(refused.value)


def test_sharding_is_refused_where_there_is_nothing_to_shard_over(project):
    words = [SHARED, "hardware.sharding=fsdp", "hardware.num_processes=2"]
    with pytest.raises(ConfigError, match="torch sees none"):
        check_sharding(loaded(project, *words).config)


def test_deepspeed_is_not_asked_for_behind_the_settings_of_the_run(project, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="a configuration that the run would not know of") as refused:
        check_sharding(loaded(project).config)
    assert "hardware.sharding: zero2 or zero3" in str(refused.value)


@pytest.mark.parametrize(
    ("installed", "capability", "said"),
    [(False, (9, 0), r"pip install 'casekit\[deepspeed\]'"), (True, (7, 5), "does not compute in bfloat16")],
)
def test_zero_is_refused_where_it_cannot_train(project, monkeypatch, installed, capability, said):
    monkeypatch.setattr("kit.train.sharding.device", lambda hardware: torch.device("cuda", 0))
    monkeypatch.setattr("kit.train.sharding.find_spec", lambda name: installed or None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: capability)
    config = loaded(project, SHARED, "hardware.sharding=zero2", "hardware.num_processes=2").config
    with pytest.raises(ConfigError, match=said):
        check_sharding(config)


def test_the_settings_of_a_run_become_those_of_deepspeed(project, monkeypatch):
    words = [SHARED, "hardware.sharding=zero3", "hardware.num_processes=2", "method=lora"]
    config = loaded(project, *words).config
    on_cpu = sharding_arguments(config)["deepspeed"]
    assert not on_cpu["torch_autocast"]["enabled"], "it would not see that of a CPU"
    monkeypatch.setattr("kit.train.sharding.device", lambda hardware: torch.device("cuda", 0))
    made = sharding_arguments(config)["deepspeed"]
    assert made["zero_optimization"]["stage"] == 3
    assert made["torch_autocast"] == {
        "enabled": True,
        "dtype": "bfloat16",
        "lower_precision_safe_modules": [],
    }
    taken = {name for name, value in made.items() if value == "auto"}  # from transformers' arguments
    assert taken == {
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "gradient_clipping",
    }


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"sharding": "zero3", "num_processes": 2}, "was 'zero2' when the run began and is 'zero3' now"),
        ({"sharding": "zero2", "num_processes": 4}, "2 processes wrote the checkpoints, and there are 4 now"),
    ],
)
def test_a_run_under_zero_is_resumed_as_it_was_shared_out(tmp_path, now, said):
    settings = {"hardware": {"sharding": "zero2", "num_processes": 2}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    check_same_sharding(tmp_path, Hardware.model_validate(settings["hardware"]))
    with pytest.raises(ConfigError, match=said):
        check_same_sharding(tmp_path, Hardware.model_validate(now))


def test_settings_become_those_of_the_launcher(project, monkeypatch, tmp_path):
    words = ["hardware.num_processes=2", "hardware.num_machines=4", "hardware.machine_rank=1"]
    words += ["hardware.main_address=10.0.0.1:29500", "train.global_batch_size=64"]
    hardware = loaded(project, *words).config.hardware
    settings = launch_settings(hardware, str(tmp_path))
    assert (settings.min_nodes, settings.max_nodes, settings.nproc_per_node) == (4, 4, 2)
    assert (settings.rdzv_backend, settings.rdzv_endpoint) == ("static", "10.0.0.1:29500")
    assert settings.rdzv_configs["rank"] == 1
    assert threads_each(hardware) == hardware.num_threads == 1
    assert needs_launch(hardware)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert not needs_launch(hardware), "a process that was launched already launches none"
