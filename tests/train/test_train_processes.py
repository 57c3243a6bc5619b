"""Several processes train as one: the same losses, weights and validation, whatever the rows divide by."""

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
from train_rewards import FIRST_HALF, write_rewarded
from train_world import same_end, write_labelled, write_preferences, write_prepared

import kit
from kit.config.schema import Config
from kit.train.disk import folder_bytes
from kit.train.metrics import read_metrics
from kit.train.stages import train

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("process_driver.py")
ROWS = 45
"""Five global batches of eight, and five rows that two processes cannot share evenly."""
ROUNDS = {
    "grpo": {"num_generations": 4, "max_completion_length": 8, "num_iterations": 2, "beta": 0.1},
    "max_steps": 4,
    "save_steps": 100,
    "golden_prompts": 4,
}
"""Two steps learn from a round of answers, so that the checkpoint at step 3 is within one."""
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "packed": {"packing": True, "method": "lora", "gpu_loss": True},
    "checkpointed": {"gradient_checkpointing": True, "method": "lora"},
    "dpo": {"stage": "dpo", "method": "lora", "logging_steps": 4, "stop": 99},
    "dpo-full": {"stage": "dpo"},
    "orpo": {"stage": "orpo", "method": "lora"},
    "reward": {"stage": "reward", "method": "lora"},
    "kto": {"stage": "kto", "method": "lora"},
    **{
        f"{stage}-uneven": {"stage": stage, "method": "lora", "per_device_train_batch_size": 4}
        for stage in ("dpo", "orpo", "kto")  # of the last five rows one process has four, the other one
    },
    "grpo": {"stage": "grpo", "method": "lora", **ROUNDS, "stop": 99},
    "grpo-full": {"stage": "grpo", **ROUNDS, "max_steps": 2},
    "fsdp": {"sharding": "fsdp"},
    "fsdp-lora": {"sharding": "fsdp", "method": "lora"},
}
TIGHT: dict[str, dict[str, Any]] = {
    "lora-tight": {"method": "lora", "holds": {"rows": 1}},
    "packed-tight": {"packing": True, "method": "lora", "holds": {"tokens": 160}},
    "lora-tight-step": {"method": "lora", "holds": {"number": 6}},
    "dpo-tight-step": {"stage": "dpo", "method": "lora", "logging_steps": 4, "stop": 99}
    | {"holds": {"number": 11}},
}
"""The second process alone has too little memory, in the trial, or in the second pass of the second step.
What comes before the first dash is the same run with memory enough."""
BROKEN_OFF: dict[str, dict[str, Any]] = {
    "nothing": {"method": "lora", "holds": {"rows": 0}},
    "dpo-stopped": {"stage": "dpo", "method": "lora", "logging_steps": 4, "stop": 1, "resume": True},
    "grpo-stopped": {"stage": "grpo", "method": "lora", **ROUNDS, "stop": 1, "resume": True},
    "grpo-moved": {"stage": "grpo", "method": "lora", **ROUNDS, "stop": 1, "resume": False},
}
FEW = 21
"""Two global batches of eight, and five rows; under ZeRO."""
ROW = 96
"""Tokens of a packed row, so few that a process makes several passes a step."""
PASSES = {"packing": True, "max_length": ROW, "eval_steps": 2, "save_steps": 2}
ZERO: dict[str, dict[str, Any]] = {
    "zero2": {"sharding": "zero2", **PASSES},
    "zero3": {"sharding": "zero3", "method": "lora", "gradient_checkpointing": True, **PASSES},
}
INSTALLED = find_spec("deepspeed") is not None
under_zero = pytest.mark.skipif(not INSTALLED, reason="DeepSpeed is not installed (extra `deepspeed`)")
HALF = lambda model, tokenizer: 0.5  # noqa: E731
OF_THE_DRIVER = ("holds", "stop", "resume", "gpu_loss")
OF_THE_CASE = ("method", "sharding", "max_length", *OF_THE_DRIVER)


def settings_of(base: Path, case: dict[str, Any], processes: int) -> dict[str, Any]:
    """Settings of a short run as a mapping, for one process or several."""
    train_settings = {name: value for name, value in case.items() if name not in OF_THE_CASE}
    return {
        "model": {"name": str(base), "max_length": case.get("max_length", 256)},
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
        "grpo": write_rewarded(folder / "rewarded", ROWS, 9),
        "few": write_prepared(folder / "few", FEW, 5),
    }


@pytest.fixture(scope="module")
def in_two(base: Path, data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left the run of every case."""
    folder = tmp_path_factory.mktemp("two")
    cases = {**BROKEN_OFF, **TIGHT, **CASES}  # sharded ones last: Accelerate goes on as it began
    runs = [
        {
            "name": name,
            "prepared": str(data[case.get("stage", "sft")]),
            "config": settings_of(base, case, processes=2),
            **{key: case[key] for key in OF_THE_DRIVER if key in case},
        }
        for name, case in cases.items()
    ]
    if INSTALLED:
        few = [(name, settings_of(base, case, processes=2), {"again": 2}) for name, case in ZERO.items()]
        few.append(("broken", settings_of(base, {"sharding": "zero2", "save_steps": 9}, 2), {"breaks": 2}))
        prepared = str(data["few"])
        runs += [{"name": name, "prepared": prepared, "config": config, **how} for name, config, how in few]
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(Path(kit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [*command, str(DRIVER), str(folder / "runs.json"), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def run_in(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def assert_same_curves(run: Path, other: Path, cut_alike: bool = True) -> None:
    """What two runs logged agrees to rounding.

    Args:
        cut_alike: whether their passes hold the same rows: the curve of margins is a mean over passes.
    """
    curves = ([line for line in read_metrics(one) if line["kind"] != "event"] for one in (run, other))
    for one, two in zip(*curves, strict=True):
        keys = ["loss", "grad_norm", "eval_loss", "task_score", "reward", "kl", "answer_tokens", "entropy"]
        keys += ["reward_margin", "reward_accuracy"] if cut_alike else []
        for key in keys:
            if one.get(key) is not None:
                assert two[key] == pytest.approx(one[key], rel=2e-4, abs=2e-5), (key, one, two)
        assert (one["step"], one.get("learning_rate")) == (two["step"], two.get("learning_rate"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(name, base, data, in_two, tmp_path, exact_arithmetic):
    case = CASES[name]
    config = Config.model_validate(settings_of(base, case, processes=1))
    rewards = [FIRST_HALF] if case.get("stage") == "grpo" else []
    score = HALF if "stop" in case else None
    alone = train(config, tmp_path, data[case.get("stage", "sft")], score, rewards=rewards)
    together = run_in(in_two / name)
    assert_same_curves(alone, together)
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


@pytest.mark.parametrize(
    ("name", "rows", "accumulation", "since"),
    [
        ("lora-tight", 1, 4, 0),
        ("packed-tight", 4, None, 0),
        ("lora-tight-step", 1, 4, 1),
        ("dpo-tight-step", 1, 4, 1),
    ],
)
def test_what_one_process_has_no_memory_for_is_halved_in_all_and_said_once(
    name, rows, accumulation, since, in_two
):
    run = run_in(in_two / name)
    manifest = json.loads((run / "manifest.json").read_text())
    batch = manifest["batch"]
    assert (batch["rows"], batch["accumulation"], batch["since_step"]) == (rows, accumulation, since)
    assert batch["tokens"] == (128 if name == "packed-tight" else None)
    told = [line for line in read_metrics(run) if line["kind"] == "event"]
    training = [line["message"] for line in told if "validat" not in line["message"]]
    assert len(training) == 1 and training[0].startswith("memory ran out")
    assert ("at step 2: going on with 1 of 2 rows a pass and 4 passes a step" in training[0]) == bool(since)
    assert_same_curves(run_in(in_two / name.partition("-")[0]), run, cut_alike=False)


def test_every_process_tries_the_longest_rows_before_the_first_step(in_two):
    probe = json.loads((run_in(in_two / "lora") / "manifest.json").read_text())["probe"]
    assert probe["train"]["rows"] == 2 and probe["validation"]["rows"] == 4
    assert 0 < probe["memory_share"] < 1
    sharded = json.loads((run_in(in_two / "fsdp-lora") / "manifest.json").read_text())["probe"]
    assert sharded["train"] == probe["train"], "where it cannot be halved it is tried all the same"


def test_where_nothing_fits_one_process_all_end_with_what_helps(in_two):
    said = [(in_two / "nothing" / f"ended-{rank}").read_text() for rank in (0, 1)]
    assert all(text.startswith("2 ") and "does not hold one row of" in text for text in said)
    assert json.loads((run_in(in_two / "nothing") / "manifest.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("stopped", "unbroken"), [("dpo-stopped", "dpo"), ("grpo-stopped", "grpo")])
def test_what_two_processes_broke_off_ends_bit_for_bit_as_an_unbroken_run(stopped, unbroken, in_two):
    """Between two lines of the curve, or within a round of answers."""
    run = run_in(in_two / stopped)
    sessions = json.loads((run / "manifest.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 3]
    same_end(run, run_in(in_two / unbroken))


def test_a_round_that_two_processes_broke_off_is_gone_on_with_by_one(base, data, in_two, exact_arithmetic):
    run = run_in(in_two / "grpo-moved")
    config = Config.model_validate(settings_of(base, BROKEN_OFF["grpo-moved"], processes=1))
    train(config, run.parents[1], data["grpo"], HALF, resume=run, rewards=[FIRST_HALF])
    assert_same_curves(run_in(in_two / "grpo"), run)


@under_zero
@pytest.mark.parametrize("name", ZERO)
def test_two_processes_under_zero_train_what_one_trains(name, base, data, in_two, tmp_path, exact_arithmetic):
    alone = train(Config.model_validate(settings_of(base, ZERO[name], 1)), tmp_path, data["few"], None)
    together = run_in(in_two / name)
    ours, theirs = read_metrics(alone), read_metrics(together)
    assert [line["step"] for line in theirs if line["kind"] == "train"] == [1, 2, 3]
    for one, two in zip(ours, theirs, strict=True):
        for key in {"loss", "grad_norm", "eval_loss", "learning_rate"} & set(one):
            assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-6), (key, one, two)
    files = sorted(path.name for path in (alone / "golden").iterdir())
    assert sorted(path.name for path in (together / "golden").iterdir()) == files
    (weights,) = (alone / "golden").glob("*.safetensors")
    first, second = load_file(weights), load_file(together / "golden" / weights.name)
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[key], second[key], atol=1e-5) for key in first)
    facts = json.loads((together / "manifest.json").read_text())
    assert facts["sessions"][0]["processes"] == 2 and facts["sessions"][0]["sharding"] == name
    assert facts["disk"]["checkpoint"] == pytest.approx(
        folder_bytes(together / "checkpoints" / "checkpoint-3"), rel=0.05
    )


@under_zero
@pytest.mark.parametrize("name", ZERO)
def test_a_run_under_zero_goes_on_to_the_bit(name, in_two):
    whole, again = (run_in(in_two / folder) for folder in (name, f"{name}-again"))
    timed = {"tokens_per_second", "memory_gib", "memory_share"}
    ours, theirs = (
        [{key: value for key, value in line.items() if key not in timed} for line in read_metrics(run)]
        for run in (whole, again)
    )
    assert ours == theirs
    assert [
        session["from_step"] for session in json.loads((again / "manifest.json").read_text())["sessions"]
    ] == [0, 2]
    for folder in ("golden", "checkpoints/checkpoint-3"):
        (weights,) = (whole / folder).glob("*.safetensors")
        assert weights.read_bytes() == (again / folder / weights.name).read_bytes(), folder


@under_zero
def test_a_gradient_under_zero_that_is_no_number_moves_no_weight(in_two):
    said = [(in_two / "broken" / f"ended-{rank}").read_text() for rank in (0, 1)]
    assert all(text.startswith("4 ") and "the gradient at step 2 is no number" in text for text in said)
    assert all(text.endswith("and no weight has moved") for text in said), "the first step has the rate 0"
