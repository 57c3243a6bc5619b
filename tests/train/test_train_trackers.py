"""Where curves go besides `metrics.jsonl`: what each tracker has of a run, and what becomes of its failures.

TensorBoard and Trackio run here for real; MLflow and W&B where their extras are installed. Where a tracker
has to fail, a stand-in for one does, and is called so.
"""

import json
import os
import re
import signal
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console
from test_train_resume import InterruptAt, interrupted
from tracker_readers import READERS

from kit.config.errors import ConfigError
from kit.config.schema import Config
from kit.config.schema_train import Tracker as Name
from kit.train import tracker_kinds, trackers
from kit.train.metrics import read_metrics
from kit.train.stages import train
from kit.train.tracker_kinds import Opening, Tracker
from kit.train.trackers import PACKAGES, check_trackers, open_trackers, settings_of, values_of

ROOT = Path(__file__).resolve().parents[2]
ENDS = {
    "finished": {"tensorboard": "", "trackio": "", "mlflow": "FINISHED", "wandb": "0"},
    "interrupted": {"tensorboard": "", "trackio": "", "mlflow": "KILLED", "wandb": "1"},
}


def tracked_by(config: Config, *names: str, project: str = "bank") -> Config:
    tracking = config.tracking.model_copy(update={"report_to": list(names)})
    named = config.project.model_copy(update={"name": project})
    return config.model_copy(update={"tracking": tracking, "project": named})


def require(tracker: str) -> None:
    try:
        version(PACKAGES[tracker])
    except PackageNotFoundError:
        pytest.skip(f"the extra `{tracker}` is not installed: pip install 'casekit[{tracker}]'")


def expected(run: Path) -> dict[str, dict[int, float]]:
    """The curves that `metrics.jsonl` holds."""
    curves: dict[str, dict[int, float]] = {}
    for line in read_metrics(run):
        if line["kind"] != "event":
            for name, value in values_of(line).items():
                curves.setdefault(name, {})[line["step"]] = value
    return curves


@pytest.mark.slow
@pytest.mark.parametrize("tracker", get_args(Name))
def test_a_tracker_has_every_line_of_the_run_also_where_it_was_resumed(
    tracker, settings, prepared, tmp_path, monkeypatch
):
    require(tracker)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("kit.train.watch.ALARM", 0.0)  # so that the watch finds something
    monkeypatch.setenv("NETRC", str(tmp_path / "no-login"))
    project = f"resumed-by-{tracker}"
    config = tracked_by(settings(num_train_epochs=2, eval_steps=4, save_steps=100), tracker, project=project)
    run = interrupted(config, tmp_path, prepared, evaluation=2)
    (read,) = READERS[tracker](tmp_path, project)
    assert read.status == ENDS["interrupted"][tracker]
    train(config, tmp_path, prepared, InterruptAt(99), resume=run)

    (read,) = READERS[tracker](tmp_path, project)  # one run of two sessions
    assert read.name == run.name and read.status == ENDS["finished"][tracker]
    curves = expected(run)
    assert {"train/loss", "train/learning_rate", "train/tokens_per_second", "eval/loss"} <= set(curves)
    assert len(curves["train/loss"]) == 12 and sorted(curves["eval/task_score"]) == [4, 8, 12]
    for name, curve in curves.items():
        assert sorted(read.curves[name]) == sorted(curve), name
        assert read.curves[name] == pytest.approx(curve, rel=1e-6), name
    (found, *_) = [line for line in read_metrics(run) if line["kind"] == "event"]
    assert found["event"] == "memory" and found["advice"] in read.findings["memory"]
    assert float(read.settings["train.learning_rate"]) == 3e-3
    assert read.settings["data.fingerprint"] == "48-8"


def test_only_settings_that_shape_the_run_are_sent_and_no_address_or_key():
    judge = {"model": "judge-1", "base_url": "https://judge.example.org/v1", "api_key_env": "JUDGE_KEY"}
    rubric = {"question": "Is it sound?", "labels": ["sound", "unsound"], "good": ["sound"]}
    sent = settings_of(Config.model_validate({"evaluate": {"judge": {**judge, "rubric": rubric}}}))
    assert sent["train.learning_rate"] == 3e-5 and sent["method.rank"] == 8
    assert {name.split(".")[0] for name in sent} == {"seed", "model", "method", "train", "hardware"}
    assert "judge" not in json.dumps(sent).lower()
    assert not [name for name in sent if "grpo" in name or "preference" in name], "not of this stage"
    of_pairs = settings_of(Config.model_validate({"train": {"stage": "dpo"}}))
    assert any(name.startswith("train.preference.") for name in of_pairs)


def stand_in(fails: Callable[[int], bool], got: list[tuple[str, Any]]) -> Callable[[Opening], Tracker]:
    """A stand-in for a tracker: notes in `got` what it is given, and raises where `fails` says so."""
    calls = [0]

    def log(step: int, values: Any) -> None:
        calls[0] += 1
        if fails(calls[0]):
            raise ConnectionError("the [bold]server[/] is gone")
        got.append(("log", (step, values)))

    def opened(told: Opening) -> Tracker:
        got.append(("open", told))
        return Tracker("its-id", "", log, lambda *found: got.append(("find", found)), end)

    def end(status: str) -> None:
        got.append(("end", status))

    return opened


@pytest.mark.slow
@pytest.mark.parametrize("back", [True, False])
def test_a_tracker_that_fails_does_not_end_the_run_and_gets_later_what_it_missed(
    back, settings, prepared, tmp_path, monkeypatch, capsys
):
    got: list[tuple[str, Any]] = []
    down = (lambda call: 2 <= call <= 4) if back else (lambda call: call >= 2)
    monkeypatch.setattr(trackers, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(trackers, "why_not", lambda tracker: None)
    monkeypatch.setitem(tracker_kinds.OPEN, "wandb", stand_in(down, got))
    run = train(tracked_by(settings(), "wandb"), tmp_path, prepared, None)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["trackers"] == {"wandb": "its-id"}
    logged = [given for what, given in got if what == "log"]
    lines = [line for line in read_metrics(run) if line["kind"] != "event"]
    assert len(lines) == 8
    whole = [(line["step"], values_of(line)) for line in lines]
    assert logged == (whole if back else whole[:1]), "in order, each once"
    assert got[-1] == ("end", "finished")
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("wandb failed: ConnectionError: the [bold]server[/] is gone") == (1 if back else 2)
    assert "the run goes on, and it is tried again" in said
    assert ("what it misses is in metrics.jsonl" in said) is not back


@pytest.mark.slow
def test_a_tracker_that_refuses_stops_a_new_run_before_its_model_loads_and_not_a_resumed_one(
    settings, prepared, tmp_path, monkeypatch, capsys
):
    def refuses(told: Opening) -> Tracker:
        raise PermissionError("no login")

    monkeypatch.setattr(trackers, "why_not", lambda tracker: None)
    monkeypatch.setitem(tracker_kinds.OPEN, "mlflow", refuses)
    got: list[tuple[str, Any]] = []
    monkeypatch.setitem(tracker_kinds.OPEN, "wandb", stand_in(lambda call: False, got))
    config = tracked_by(settings(eval_steps=2), "wandb", "mlflow")
    with monkeypatch.context() as patched:
        patched.setattr("kit.train.setup.load_for_training", lambda *_: pytest.fail("the model was loaded"))
        with pytest.raises(ConfigError, match="'mlflow' refuses the run: PermissionError: no login"):
            train(config, tmp_path / "new", prepared, None)
    (run,) = (tmp_path / "new" / "runs").iterdir()
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"
    assert [what for what, _ in got] == ["open", "end"] and got[-1] == ("end", "failed")

    run = interrupted(tracked_by(config, "wandb"), tmp_path, prepared, evaluation=2)
    capsys.readouterr()
    train(config, tmp_path, prepared, InterruptAt(99), resume=run)
    assert "mlflow failed: PermissionError: no login; the run goes on without it" in capsys.readouterr().err
    assert [given.known for what, given in got if what == "open"][-1] == {"wandb": "its-id"}
    assert [given for what, given in got if what == "end"][1:] == ["interrupted", "finished"]
    steps = [given[0] for what, given in got if what == "log" and "train/loss" in given[1]]
    assert steps == [1, 2, 3, 4, 5, 6], "an earlier session's lines are not sent again"


def test_of_several_processes_the_main_one_alone_has_trackers(settings, tmp_path, monkeypatch):
    got: list[tuple[str, Any]] = []
    monkeypatch.setitem(tracker_kinds.OPEN, "wandb", stand_in(lambda call: False, got))
    monkeypatch.setenv("RANK", "1")
    manifest = begun(sessions=1)
    with trackers.tracked(tmp_path, manifest, Console()) as found:
        open_trackers(found, tracked_by(settings(), "wandb"), tmp_path, tmp_path, manifest, Console())
        assert found.opened == {}
    assert got == [] and "trackers" not in manifest


def test_a_tracker_that_refuses_is_gone_on_without_where_a_run_was_killed_before_a_checkpoint(
    settings, tmp_path, monkeypatch, capsys
):
    def refuses(told: Opening) -> Tracker:
        raise PermissionError("no login")

    monkeypatch.setitem(tracker_kinds.OPEN, "wandb", refuses)
    config = tracked_by(settings(), "wandb")
    for sessions in (1, 2):
        manifest = begun(sessions)
        with trackers.tracked(tmp_path, manifest, Console()) as found:
            new = pytest.raises(ConfigError, match="'wandb' refuses the run: PermissionError: no login")
            with new if sessions == 1 else nullcontext():
                open_trackers(found, config, tmp_path, tmp_path, manifest, Console())
    assert "the run goes on without it" in " ".join(capsys.readouterr().out.split())


def begun(sessions: int) -> dict[str, Any]:
    """What is looked at of a manifest before the first step."""
    return {
        "status": "running",
        "data": {"fingerprint": ""},
        "model": {"sha256": ""},
        "environment": {"kit_version": ""},
        "sessions": [{"from_step": 0}] * sessions,
    }


@pytest.mark.slow
def test_a_run_is_finished_also_where_nobody_waits_for_what_its_tracker_still_sends(
    settings, prepared, tmp_path, monkeypatch
):
    def slow(told: Opening) -> Tracker:
        def end(status: str) -> None:
            left.append(status)
            os.kill(os.getpid(), signal.SIGINT)

        return replace(stand_in(lambda call: False, [])(told), end=end)

    left: list[str] = []
    monkeypatch.setattr(trackers, "why_not", lambda tracker: None)
    monkeypatch.setitem(tracker_kinds.OPEN, "wandb", slow)
    with pytest.raises(KeyboardInterrupt):
        train(tracked_by(settings(max_steps=1), "wandb"), tmp_path, prepared, None)
    (run,) = (tmp_path / "runs").iterdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["ended"] and left == ["finished"]


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_refused_before_anything_loads(
    tracker, prepared, tmp_path, monkeypatch
):
    def not_found(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(trackers, "version", not_found)
    (tmp_path / tracker).mkdir()  # as W&B leaves one in a project
    monkeypatch.syspath_prepend(tmp_path)
    config = Config.model_validate({"model": "nowhere/at-all", "tracking": {"report_to": [tracker]}})
    with pytest.raises(ConfigError, match="is not installed") as refused:
        train(config, tmp_path, prepared, None)
    (problem,) = refused.value.problems
    assert problem.where == "tracking.report_to" and f"pip install 'casekit[{tracker}]'" in problem.hint
    assert not (tmp_path / "runs").exists()


def test_a_tracker_too_old_to_start_is_refused_with_its_version_and_its_error(monkeypatch):
    """As MLflow 1.27 was, which pip chose where newer ones were ruled out by other packages."""

    def broken(module: str) -> None:
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    monkeypatch.setattr(trackers, "version", lambda package: "1.27.0")
    monkeypatch.setattr(trackers.importlib, "import_module", broken)
    with pytest.raises(ConfigError) as refused:
        check_trackers(["mlflow", "wandb"])
    assert len(refused.value.problems) == 2
    assert "1.27.0 does not start: ModuleNotFoundError: No module named 'pkg_resources'" in str(refused.value)


def test_nothing_is_reported_home_unless_the_user_says_so(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    check_trackers([])
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["WANDB_ERROR_REPORTING"] == "true", "what was set stays"


def test_every_tracker_is_an_extra_of_its_own_and_its_version_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    for tracker in get_args(Name):
        asked = project["dependencies"] if tracker == "tensorboard" else extras[tracker]
        names = {re.split(r"[><=\[]", text)[0] for text in asked}
        assert PACKAGES[tracker] in names and names <= pinned | {"casekit"}, tracker
    assert set(extras["trackio"]) <= set(extras["dev"]), "so that the tests run it"
