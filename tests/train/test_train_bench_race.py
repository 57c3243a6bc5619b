"""Contestants of the GPU's race have the device one after the other, and none of them holds up the rest."""

import argparse
import importlib
import json
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"

WAITS = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from train_turns import take_turns
turns = take_turns()
turns.imported()
Path(sys.argv[2]).touch()  # where a model would be loaded
while True:
    turns.begin()
    turns.end()
"""


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`bench/train_race.py`."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("train_race")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `bench/gpu/train.py` defines."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCH)])
    return runpy.run_path(str(BENCH / "gpu" / "train.py"), run_name="gpu_bench")


def contestant(race: Any, folder: Path, script: str, *words: str) -> Any:
    """A process that runs `script`, as a contestant."""
    log = folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return race.Contestant("kit", "packed", process, log)


def test_a_model_is_loaded_when_it_may_be(race: Any, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    one = contestant(race, tmp_path, WAITS, str(BENCH), str(loaded))
    time.sleep(0.5)
    assert not loaded.exists() and one.process.poll() is None
    one.warm_up()
    assert loaded.exists()
    assert one.seconds == [] and one.facts["first"] >= 0
    assert one.facts["importing"] < 0.5 and one.facts["loading"] >= 0
    one.turn()
    one.stop()
    assert len(one.seconds) == 1 and one.process.returncode == 0


def test_who_is_too_slow_is_ended_and_told(race: Any, gpu: dict[str, Any], tmp_path: Path) -> None:
    one = contestant(race, tmp_path, "import time; time.sleep(60)")
    assert gpu["measure"](one, 1, 0.3) == "took longer than 0.3 s"
    one.stop()
    assert one.process.returncode == -9


def test_what_does_not_fit_is_told_in_two_words(race: Any, gpu: dict[str, Any], tmp_path: Path) -> None:
    one = contestant(race, tmp_path, "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory')")
    assert gpu["measure"](one, 1, None) == "out of memory"
    one.stop()


def test_a_few_start_ahead_and_each_is_ended_before_the_next(
    gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Told:
        def __init__(self, name: str) -> None:
            self.name = name
            told.append(f"start {name}")

        def stop(self) -> None:
            told.append(f"stop {self.name}")

    monkeypatch.setitem(
        gpu["Race"].fill.__globals__, "start", lambda work, method, who, way, other: Told(way)
    )
    wanted = [("full", "kit", str(number)) for number in range(9)] + [("lora", "kit", "last")]
    running = gpu["Race"](argparse.Namespace(llamafactory_python=None), Path(), wanted)
    assert told == [f"start {number}" for number in range(gpu["AHEAD"] + 1)]
    for one in running.of("full"):
        told.append(f"run {one.name}")
    for number in range(9):
        at = told.index(f"run {number}")
        assert told[at + 1] == f"stop {number}"
    assert [one.name for one in running.of("lora")] == ["last"]
    assert sum(line.startswith("start") for line in told) == 10


def test_weights_and_tokens_are_kept_for_the_next_race(
    gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[str] = []

    def make_data(folder: Path, shape: str, rows: int, limit: int) -> None:
        made.append(f"{shape} {rows} {limit}")
        (folder / "prepared").mkdir(parents=True)
        (folder / "tokens.json").write_text(json.dumps([{"input_ids": [1, 2]}] * rows), encoding="utf-8")

    inside = gpu["world"].__wrapped__.__globals__
    monkeypatch.setitem(inside, "make_data", make_data)
    for rows in (8, 8, 16):
        given = argparse.Namespace(
            work=tmp_path, shape="toy", rows=rows, limit=96, batch=4, per_pass=2, device="cuda",
            checkpointing=False,
        )  # fmt: skip
        with gpu["world"](given) as work:
            assert len(json.loads((work / "tokens.json").read_text(encoding="utf-8"))) == rows
            facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
            assert (facts["rows"], facts["tokens"], facts["packed_per_pass"]) == (rows, 2 * rows, 1)
            assert (work / "base").resolve() == (tmp_path / "casekit-bench" / "toy" / "base").resolve()
        assert not work.exists()
    assert made == ["toy 8 96", "toy 16 96"]


def test_llamafactory_is_told_of_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    factory = importlib.import_module("train_llamafactory")
    monkeypatch.setattr(factory, "save_tokens", lambda work, folder, way, facts: folder)
    facts = {
        "limit": 512, "rate": 1e-4, "rank": 8, "alpha": 16, "targets": ["q_proj"], "batch": 32,
        "default_per_pass": 8, "packed_per_pass": 2, "rows_a_step": 7,
    }  # fmt: skip
    on = {
        device: factory.settings(tmp_path, "lora", "packed+liger", facts | {"device": device})
        for device in ("cuda", "cpu")
    }
    assert [on["cuda"][name] for name in ("use_cpu", "bf16", "enable_liger_kernel")] == [False, True, True]
    assert on["cuda"]["per_device_train_batch_size"] == 2
    assert on["cuda"]["gradient_accumulation_steps"] == 4
    assert on["cpu"]["use_cpu"]
    padded = factory.settings(tmp_path, "lora", "defaults", facts | {"device": "cuda"})
    assert [padded[name] for name in ("use_cpu", "bf16", "enable_liger_kernel")] == [False, True, False]
    assert (padded["per_device_train_batch_size"], padded["gradient_accumulation_steps"]) == (8, 4)
    assert "neat_packing" not in padded


def test_weights_lie_in_files_named_by_their_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from kit.files import sha256_file

    monkeypatch.syspath_prepend(str(BENCH))
    importlib.import_module("train_data").make_weights(tmp_path / "base", "toy")
    (weights,) = (tmp_path / "base").glob("*.safetensors")
    assert weights.resolve().name == sha256_file(weights)
    assert "model.norm.weight" in load_file(weights)
    assert json.loads((tmp_path / "base" / "config.json").read_text(encoding="utf-8"))["hidden_size"] == 64
