"""ZeRO-2 and ZeRO-3 over two processes: the run of one, resumed to the bit, and guarded before each step."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_train_processes import settings_of
from train_world import write_prepared

import kit
from kit.config.schema import Config
from kit.train.metrics import read_metrics
from kit.train.stages import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed (extra `deepspeed`)"),
]

DRIVER = Path(__file__).with_name("zero_driver.py")
ROWS = 21
"""Two global batches of eight, and five rows: of these one process has four and the other one."""
ROW = 96
"""Tokens of a packed row: every process makes several passes a step."""
CASES: dict[str, dict[str, Any]] = {
    "zero2": {"sharding": "zero2"},
    "zero2-packed": {"sharding": "zero2", "method": "lora", "packing": True},
    "zero3": {"sharding": "zero3"},
    "zero3-packed": {"sharding": "zero3", "packing": True},
    "zero3-lora": {"sharding": "zero3", "method": "lora", "gradient_checkpointing": True},
}


def settings(base: Path, case: dict[str, Any], processes: int) -> dict[str, Any]:
    own = settings_of(base, {**case, "eval_steps": 2, "save_steps": 2}, processes)
    return own | {"model": {"name": str(base), "max_length": ROW}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("data") / "dialogues", ROWS, 5)


@pytest.fixture(scope="module")
def in_two(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left the run of every case."""
    folder = tmp_path_factory.mktemp("two")
    runs = [
        {"name": name, "prepared": str(data), "config": settings(base, case, 2), "again": 2}
        for name, case in CASES.items()
    ]
    broken = {"name": "broken", "config": settings(base, CASES["zero2"], 2), "breaks": 2}
    (folder / "runs.json").write_text(json.dumps([*runs, {"prepared": str(data), **broken}]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    places = [str(Path(kit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(DRIVER), str(folder / "runs.json"), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**environment, "DS_ACCELERATOR": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def run_in(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.mark.parametrize("name", CASES)
def test_two_processes_under_zero_train_what_one_trains(name, base, data, in_two, tmp_path, exact_arithmetic):
    alone = train(Config.model_validate(settings(base, CASES[name], 1)), tmp_path, data, None)
    together = run_in(in_two / name)
    lines = [(one, two) for one, two in zip(read_metrics(alone), read_metrics(together), strict=True)]
    assert [one["step"] for one, _ in lines if one["kind"] == "train"] == [1, 2, 3]
    for one, two in lines:
        for key in {"loss", "grad_norm", "eval_loss", "learning_rate"} & set(one):
            assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-6), (key, one, two)
    files = sorted(path.name for path in (alone / "golden").iterdir())
    assert sorted(path.name for path in (together / "golden").iterdir()) == files
    (weights,) = (alone / "golden").glob("*.safetensors")
    ours, theirs = load_file(weights), load_file(together / "golden" / weights.name)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)


@pytest.mark.parametrize("name", CASES)
def test_a_run_under_zero_goes_on_to_the_bit(name, in_two):
    whole, again = (run_in(in_two / folder) for folder in (name, f"{name}-again"))
    timed = {"tokens_per_second", "memory_gib", "memory_share"}
    ours, theirs = (
        [{key: value for key, value in line.items() if key not in timed} for line in read_metrics(run)]
        for run in (whole, again)
    )
    assert ours == theirs
    assert len(json.loads((again / "manifest.json").read_text())["sessions"]) == 2
    for folder in ("golden", "checkpoints/checkpoint-3"):
        (weights,) = (whole / folder).glob("*.safetensors")
        assert weights.read_bytes() == (again / folder / weights.name).read_bytes(), folder


def test_a_gradient_under_zero_that_is_no_number_moves_no_weight(in_two):
    found = json.loads((in_two / "broken.json").read_text())
    assert "the gradient at step 2 is no number" in found["said"]
    assert found["same"], "the first step has the rate 0"
