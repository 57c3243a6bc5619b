"""`casekit watch`: what it shows of a run that is on, that ended, and that fell silent."""

import io
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kit.cli import app
from kit.cli_train import say_end
from kit.config.errors import ConfigError
from kit.terminal_run import clock, follow, loss_plot, read_state, run_view

NAME = "20260131-093000-sft-lora"


def write_run(root: Path, status: str = "running", lines: int = 40, seconds: float = 80) -> Path:
    """A run of 100 steps that began so many seconds ago, and logged every second step."""
    run = root / "runs" / NAME
    run.mkdir(parents=True)
    began = datetime.now(UTC) - timedelta(seconds=seconds)
    manifest = {
        "run": NAME,
        "status": status,
        "stage": "sft",
        "method": "lora",
        "model": {"name": "tiny"},
        "steps": 100,
        "sessions": [{"started": began.isoformat(), "from_step": 0}],
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    write_lines(run, [train_line(2 * n, 4 / n) for n in range(1, lines + 1)])
    return run


def write_lines(run: Path, lines: list[dict[str, Any]]) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def train_line(step: int, loss: float | None) -> dict[str, Any]:
    values = {"learning_rate": 3e-5, "grad_norm": 0.5, "tokens_per_second": 1234.0, "memory_share": 0.71}
    return {"step": step, "epoch": step / 100, "kind": "train", "loss": loss, **values}


def eval_line(step: int, loss: float, score: float | None) -> dict[str, Any]:
    return {"step": step, "epoch": step / 100, "kind": "eval", "eval_loss": loss, "task_score": score}


def shown(run: Path, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(run_view(read_state(run), width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_that_is_on_shows_how_far_it_is_its_values_and_what_was_found(tmp_path):
    run = write_run(tmp_path)
    event = {"step": 60, "epoch": 0.6, "kind": "event", "event": "spike", "advice": "", "value": 2.0}
    evaluations = [eval_line(40, 0.5, 0.8), eval_line(80, 0.3, 0.7)]
    write_lines(run, [*evaluations, {**event, "message": "the loss leapt [bold]up[/]"}])
    text = shown(run)
    assert f"{NAME}  sft of tiny by lora  running  step 80 of 100" in text
    assert "0:20 left" in text or "0:19 left" in text, "80 steps took 80 seconds"
    assert "loss 0.1000  rate 3.00e-05  gradient norm 0.500  tokens/s 1,234  memory 71%" in text
    assert "validation at step 80: loss 0.3000, score 0.7000; best 0.8000 at step 40" in text
    assert "step 60: the loss leapt [bold]up[/]" in text, "text of a file is no markup"
    assert "killed" not in text


def test_the_plot_falls_as_the_loss_does_and_marks_validations(tmp_path):
    run = write_run(tmp_path)
    write_lines(run, [eval_line(40, 1.9, None), train_line(82, None)])
    rows = loss_plot(read_state(run), 80).splitlines()
    points = {
        column: row for row, line in enumerate(rows) for column, mark in enumerate(line) if "⠀" < mark <= "⣿"
    }
    heights = [points[column] for column in sorted(points)]
    assert heights[0] < heights[len(heights) // 2] <= heights[-1], "from above on the left to below"
    assert sum(line.count("x") for line in rows) == 1
    assert max(len(line) for line in rows) <= 80
    assert "\x1b" not in "".join(rows)


@pytest.mark.parametrize("status", ["finished", "interrupted", "failed"])
def test_a_run_that_ended_has_no_time_left(status, tmp_path):
    text = shown(write_run(tmp_path, status))
    assert status in text and "left" not in text


def test_a_run_without_a_word_for_long_is_said_to_be_silent(tmp_path):
    run = write_run(tmp_path, seconds=1000)
    before = time.time() - 600
    os.utime(run / "metrics.jsonl", (before, before))
    text = shown(run)
    assert "no line for 10:00: it validates, or was killed" in text and " left" not in text


def test_before_its_first_step_there_is_nothing_to_plot(tmp_path):
    assert "no step was logged yet" in shown(write_run(tmp_path, lines=0))


def test_following_ends_with_the_run(tmp_path):
    run = write_run(tmp_path)

    def end() -> None:
        time.sleep(0.3)
        write_lines(run, [train_line(100, 0.05)])
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(manifest | {"status": "finished"}))

    thread = threading.Thread(target=end)
    thread.start()
    console = Console(file=io.StringIO(), force_terminal=True, width=90)
    state = follow(run, console, every_seconds=0.05)
    thread.join()
    assert (state.manifest["status"], state.step) == ("finished", 100)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "running" in drawn and "step 100 of 100" in drawn


def test_the_command_shows_the_newest_run_once_where_there_is_no_terminal(tmp_path):
    write_run(tmp_path)
    done = CliRunner().invoke(app, ["watch", "-p", str(tmp_path)])
    assert done.exit_code == 0 and "step 80 of 100" in done.output
    done = CliRunner().invoke(app, ["watch", "2026", "-p", str(tmp_path)])
    assert done.exit_code == 0 and NAME in done.output


def test_without_a_run_it_says_so(tmp_path):
    done = CliRunner().invoke(app, ["watch", "-p", str(tmp_path)])
    assert isinstance(done.exception, ConfigError) and "there is no run" in str(done.exception)


@pytest.mark.parametrize(("seconds", "wanted"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_times(seconds, wanted):
    assert clock(seconds) == wanted


def test_the_end_of_a_run_is_told(tmp_path, capsys):
    run = write_run(tmp_path, "finished")
    golden = {"step": 40, "metric": "violation_rate", "score": -0.0, "eval_loss": 0.2}
    facts = json.loads((run / "manifest.json").read_text()) | {"steps": 100, "golden": golden}
    for early in (True, False):
        (run / "manifest.json").write_text(json.dumps(facts | {"stopped_early": early}))
        say_end(run)
    early, whole = capsys.readouterr().err.splitlines()
    assert early.startswith("stopped early at step 100, for no validation since was better")
    assert early.endswith("golden is step 40, violation_rate, score 0.0000 (higher is better)")
    assert whole.startswith("ended with step 100; golden is step 40")
