"""Several processes train as one: the same losses, weights and validation, whatever the rows divide by."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_world import write_labelled, write_preferences, write_prepared

import kit
from kit.config.schema import Config
from kit.train.metrics import read_metrics
from kit.train.stages import train

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("process_driver.py")
ROWS = 45
"""Five global batches of eight, and five rows that two processes cannot share evenly."""
KL_OVER_ALL = 0.05
"""TRL estimates how far the model has gone over a pass of every process together: other rows, other mean."""
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "packed": {"packing": True, "method": "lora"},
    "checkpointed": {"gradient_checkpointing": True, "method": "lora"},
    "dpo": {"stage": "dpo", "method": "lora"},
    "dpo-full": {"stage": "dpo"},
    "orpo": {"stage": "orpo", "method": "lora"},
    "reward": {"stage": "reward", "method": "lora"},
    "kto": {"stage": "kto", "method": "lora"},
    **{
        f"{stage}-uneven": {"stage": stage, "method": "lora", "per_device_train_batch_size": 4}
        for stage in ("dpo", "orpo", "kto")  # of the last five rows one process has four, the other one
    },
    "fsdp": {"sharding": "fsdp"},
    "fsdp-lora": {"sharding": "fsdp", "method": "lora"},
}


def settings_of(base: Path, case: dict[str, Any], processes: int) -> dict[str, Any]:
    """Settings of a short run as a mapping, for one process or several."""
    train_settings = {name: value for name, value in case.items() if name not in ("method", "sharding")}
    return {
        "model": {"name": str(base), "max_length": 256},
        "method": {"name": case.get("method", "full")},
        "train": {
            "learning_rate": 3e-3,
            "num_train_epochs": 1,
            "global_batch_size": 8,
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 4,  # of nine rows: the last pass is a smaller one
            "logging_steps": 1,
            "eval_steps": 3,
            "save_steps": 3,
            **train_settings,
        },
        "hardware": {
            "num_threads": 1,
            "num_processes": processes,
            "sharding": case.get("sharding", "none") if processes > 1 else "none",
        },
        "tracking": {"report_to": []},
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    pairs = write_preferences(folder / "pairs", ROWS, 9)
    return {
        "sft": write_prepared(folder / "dialogues", ROWS, 9),
        "dpo": pairs,
        "orpo": pairs,
        "reward": pairs,
        "kto": write_labelled(folder / "labelled", ROWS, 9),
    }


@pytest.fixture(scope="module")
def in_two(base: Path, data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left the run of every case."""
    folder = tmp_path_factory.mktemp("two")
    runs = [
        {
            "name": name,
            "prepared": str(data[case.get("stage", "sft")]),
            "config": settings_of(base, case, processes=2),
        }
        for name, case in CASES.items()
    ]
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(DRIVER), str(folder / "runs.json"), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def run_in(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(name, base, data, in_two, tmp_path, exact_arithmetic):
    case = CASES[name]
    config = Config.model_validate(settings_of(base, case, processes=1))
    alone = train(config, tmp_path, data[case.get("stage", "sft")], None)
    together = run_in(in_two / name)
    rounding = KL_OVER_ALL if name.startswith("kto") else 2e-4
    for one, two in zip(read_metrics(alone), read_metrics(together), strict=True):
        # The curve of margins is a mean over passes, in which the last step's fillers count.
        keys = ["loss", "grad_norm", "eval_loss", *(["reward_margin"] if one["epoch"] < 0.85 else [])]
        for key in set(keys) & set(one):
            assert two[key] == pytest.approx(one[key], rel=rounding, abs=2e-5), (key, one, two)
        assert (one["step"], one.get("learning_rate")) == (two["step"], two.get("learning_rate"))
    files = sorted(path.name for path in (alone / "golden").iterdir())
    assert sorted(path.name for path in (together / "golden").iterdir()) == files
    for file in (alone / "golden").glob("*.safetensors"):
        ours, theirs = load_file(file), load_file(together / "golden" / file.name)
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert torch.allclose(tensor, theirs[key].to(tensor.dtype), atol=2e-3), key
    facts = [json.loads((run / "manifest.json").read_text()) for run in (alone, together)]
    for key in ("status", "steps", "trainable_parameters", "total_parameters"):
        assert facts[0][key] == facts[1][key], key
