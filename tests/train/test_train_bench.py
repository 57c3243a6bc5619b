"""The benches of training run from end to end on the smallest shape, and count what they say they count."""

import importlib
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`python bench/…`, in this process: what it prints."""

    def run(script: str, *words: str) -> str:
        monkeypatch.setattr(sys, "path", [*sys.path, str(BENCH)])
        monkeypatch.setattr(sys, "argv", [script, *words])
        runpy.run_path(str(BENCH / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def rows_of(printed: str) -> dict[str, list[str]]:
    """The lines of the tables by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`bench/shapes.py`."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("shapes")


def test_the_gpu_bench_runs_on_a_cpu_with_a_toy(bench: Callable[..., str], tmp_path: Path) -> None:
    sizes = ["--rows", "8", "--limit", "96", "--turns", "1", "--methods", "lora", "--per-pass", "4"]
    sizes += ["--json", str(tmp_path / "found.json"), "--limit-seconds", "300"]
    who = ["--only", "kit-packed", "trl-packed", "bare-packed+eager"]
    printed = bench("gpu/train.py", "--shape", "toy", "--device", "cpu", *sizes, *who)
    rows = rows_of(printed)
    for name in ("kit, packed", "trl, packed", "bare, packed+eager"):
        rate, *_, share, memory = rows[name]
        assert float(rate.split()[0].replace(",", "")) > 0
        assert share == "peak unknown"
        assert float(memory.replace(",", "")) > 0
    assert "nan" not in printed
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (found["shape"], found["per_pass"], len(found["contestants"])) == ("toy", 4, 3)
    for one in found["contestants"]:
        assert one["why_not"] is None and one["flops"] > 0
        (seconds,), (rate,) = one["seconds"], one["tokens_a_second"]
        assert rate == pytest.approx(found["tokens"] / seconds)
        assert min(one[name] for name in ("importing", "loading", "first", "peak")) > 0


def test_flops_of_rows_are_six_a_weight_and_token(shapes: ModuleType) -> None:
    model = shapes.network("toy", "meta", attn_implementation="eager")
    weights = sum(one.numel() for name, one in model.named_parameters() if "norm" not in name)
    lengths = [10, 40]
    pairs = sum(n * n for n in lengths) * 64 * 2 * 2 * 3  # queries by keys, weights by values; three passes
    expected = 6 * weights * sum(lengths) + pairs
    found = shapes.flops_of_rows("toy", "full", 16, lengths)
    assert found == pytest.approx(expected, rel=0.01)
    assert shapes.flops_of_rows("toy", "lora", 2, lengths) < 0.85 * found


def test_lora_is_taken_apart_for_a_toy(bench: Callable[..., str]) -> None:
    printed = bench("lora_speed.py", "--shape", "toy", "--tokens", "32", "--rank", "2")
    rows = rows_of(printed)
    assert 1.0 < float(rows["computed twice"][-1]) < float(rows["activations kept"][-1]) < 1.6
    assert "- activations kept: " in printed  # of whole steps
    assert rows["full"][-1].strip(" |") == "100%"
    share = {method: int(rows[method][-1].strip(" %|")) for method in ("lora", "qlora")}
    assert share["qlora"] < share["lora"] < 100


def test_a_contestant_that_ends_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    race = importlib.import_module("train_race")
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", "raise SystemExit('no room')"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    process.wait(timeout=60)
    with pytest.raises(RuntimeError, match=r"kit, packed ended(.|\n)*no room"):
        race.Contestant("kit", "packed", process, log).turn()
