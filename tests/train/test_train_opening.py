"""A run's folder: one process at a time works on it, and it is a run from the moment it is there."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_train_resume import interrupted, status

import kit
from kit.config.errors import ConfigError
from kit.config.yaml_lines import load_yaml
from kit.train.opening import LOCK, held, new_run
from kit.train.runs import list_runs
from kit.train.stages import train

HOLDER = """
import sys, time
from pathlib import Path
from kit.train.opening import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_process_on(run: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that works on the run, as far as others can tell."""
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parents[1])}
    command = [sys.executable, "-c", HOLDER, str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(timeout=60)


@pytest.mark.slow
def test_a_run_that_another_process_works_on_is_not_resumed(settings, prepared, tmp_path):
    config = settings(max_steps=3, eval_steps=2, save_steps=2)
    run = interrupted(config, tmp_path, prepared, evaluation=1)
    left = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != LOCK}
    with another_process_on(run) as process:
        with pytest.raises(ConfigError, match=f"is being trained by process {process.pid} on this") as caught:
            train(config, tmp_path, prepared, lambda model, tokenizer: 0.5, resume=run)
        assert caught.value.exit_code == 2 and f"kill {process.pid}" in str(caught.value)
        assert all(path.read_bytes() == before for path, before in left.items()), "nothing was touched"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        # What the killed process has written of itself is still there; its lock is not.
        assert str(process.pid) in (run / LOCK).read_text()
        train(config, tmp_path, prepared, lambda model, tokenizer: 0.5, resume=run)
    assert status(run) == "finished"


def test_a_lock_is_given_back_however_the_work_ends(tmp_path):
    with pytest.raises(RuntimeError), held(tmp_path):
        raise RuntimeError("it went wrong")
    said = f"is being trained by process {os.getpid()} on this machine"
    with held(tmp_path), pytest.raises(ConfigError, match=said), held(tmp_path):
        pass


def test_a_process_of_another_machine_is_to_be_stopped_there(tmp_path, monkeypatch):
    with held(tmp_path):
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        with pytest.raises(ConfigError) as caught, held(tmp_path):
            pass
    (problem,) = caught.value.problems
    assert "on this machine" not in problem.message
    assert f"stop it there (`kill {os.getpid()}`" in problem.hint, "here that number is another's"


def test_where_nothing_can_be_locked_the_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def no_locks(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with held(tmp_path):
        pass
    assert "lies where nothing can be locked" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_run_killed_before_its_folder_is_whole_leaves_none(pristine, warm, tmp_path):
    project = shutil.copytree(pristine, tmp_path / "project")
    killed = warm.casekit(project, "train", plot=("kill", "rename  to ", 1))
    assert killed.code == -signal.SIGKILL, killed.said
    assert list_runs(project) == [] and not list((project / "runs").glob("[!.]*"))
    again = warm.casekit(project, "train", "--resume")
    assert again.code == 2 and "there is no run" in again.said
    killed = warm.casekit(project, "train", plot=("kill", "open lock", 1))
    assert killed.code == -signal.SIGKILL, killed.said
    (run,) = list_runs(project)
    done = warm.casekit(project, "train", "--resume")
    assert done.code == 0, done.said
    assert list_runs(project) == [run] and status(run) == "finished", "at first sight it is a run"


@pytest.fixture
def same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Once:
        @staticmethod
        def now(zone: object) -> object:
            return datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    monkeypatch.setattr("kit.train.opening.datetime", Once)


def test_containers_that_share_a_disk_and_a_process_number_make_a_folder_each(
    settings, tmp_path, same_second
):
    """In each of them the command is process 7, say; here both are this one."""
    other: list[Path] = []

    def begin(name: str, before: object, step: object) -> dict[str, object]:
        if not other:
            other.append(tmp_path)
            other.append(new_run(tmp_path, settings(seed=2), None, begin)[0])
        return {"run": name}

    run, _ = new_run(tmp_path, settings(seed=1), None, begin)
    seeds = [load_yaml(one / "config.yaml")[0]["seed"] for one in (run, other[1])]
    assert seeds == [1, 2] and list_runs(tmp_path) == sorted([run, other[1]])


def test_a_run_that_another_process_has_just_made_stops_none_that_begins(settings, tmp_path, monkeypatch):
    other = tmp_path / "runs" / ".20260131-093000-sft-full.7"
    other.mkdir(parents=True)

    def time() -> float:
        if other.exists():
            other.rename(tmp_path / "runs" / "20260131-093000-sft-full")
        return 0.0

    monkeypatch.setattr("kit.train.opening.time", SimpleNamespace(time=time))
    run, _ = new_run(tmp_path, settings(), None, lambda name, before, step: {"run": name})
    assert list_runs(tmp_path) == [run]


def test_ids_sort_by_time_also_where_a_run_takes_less_than_a_second(settings, tmp_path, monkeypatch):
    seconds = iter([0, 0, 0, 1])

    class Clock:
        @staticmethod
        def now(zone: object) -> object:
            return datetime(2026, 1, 31, 9, 30, next(seconds), tzinfo=UTC)

    monkeypatch.setattr("kit.train.opening.datetime", Clock)
    left = tmp_path / "runs" / ".20260101-000000-sft-full.7"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    found = [
        new_run(tmp_path, settings(stage=stage), None, lambda name, before, step: {"run": name})
        for stage in ("sft", "dpo")
    ]
    names = ["20260131-093000-sft-full", "20260131-093001-dpo-full"]
    assert [run.name for run, _ in found] == [manifest["run"] for _, manifest in found] == names
    assert list_runs(tmp_path) == [run for run, _ in found]
    assert not left.exists(), "what a killed process left long ago is taken away"
