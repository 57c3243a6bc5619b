"""`casekit train` stopped from outside, in its own process: what it says, leaves and exits with."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from train_project import loaded, write_project

import kit
from kit import pipeline
from kit.models.loading import load_tuned
from kit.train.runs import last_checkpoint

pytestmark = pytest.mark.slow

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
DRIVER = Path(__file__).with_name("signal_driver.py")


@pytest.fixture(scope="module")
def pristine(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project") / "pristine", base)


@pytest.mark.parametrize(
    ("moment", "number", "times", "checkpoint"),
    [
        ("loading", TERM, 1, None),
        ("step", INT, 1, "checkpoint-1"),
        ("step", TERM, 2, None),
        ("evaluation", TERM, 1, "checkpoint-2"),
        ("golden", INT, 2, None),
        ("saving", TERM, 1, "checkpoint-2"),
        ("saving", KILL, 1, None),
    ],
)
def test_a_stopped_run_says_how_to_go_on_and_does(moment, number, times, checkpoint, pristine, tmp_path):
    project = shutil.copytree(pristine, tmp_path / "project")
    command = [sys.executable, str(DRIVER), moment, str(int(number)), str(times), str(project)]
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    (run,) = (project / "runs").iterdir()
    status = json.loads((run / "manifest.json").read_text())["status"]
    if number == KILL:
        assert (done.returncode, status) == (-KILL, "running")
    else:
        assert done.returncode == 130, done.stderr
        assert status == "interrupted"
        assert "`casekit train --resume` continues" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    found = last_checkpoint(run)
    assert (found and found.name) == checkpoint

    assert pipeline.resume(loaded(project)) == run
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    assert [path.name for path in run.glob(".*")] == [], "something half-written was left"
    steps = [line["step"] for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]
    assert steps == sorted(steps) and steps.count(6) == 2
    assert load_tuned(run / "golden", loaded(project).config) is not None
