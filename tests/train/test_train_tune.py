"""`casekit tune` on a small project: it searches within its ranges, gives up, goes on, and tells the best."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from train_project import POLICY, loaded, write_project
from transformers import TrainerCallback
from typer.testing import CliRunner

from kit import pipeline
from kit.cli import app
from kit.config.errors import ConfigError
from kit.hooks import load_hooks
from kit.train import stages
from kit.tune import search
from kit.tune.check import check_tunable
from kit.tune.folder import search_folder

pytest.importorskip("optuna", reason="the extra `tune` is not installed")
pytestmark = pytest.mark.slow

LAST = 2
SHORT = [f"train.max_steps={LAST}", "train.eval_steps=1", "train.save_steps=1"]
SEARCH = ["tune.learning_rate=[1e-5, 1e-2]", "tune.rank=[2, 4]", "tune.objective=eval_loss", *SHORT]


@pytest.fixture(scope="module")
def project(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project") / "searched", base)


def found_in(folder: Path) -> dict:
    return json.loads((folder / "tuning.json").read_text())


def test_it_searches_within_its_ranges_and_goes_on_where_it_stopped(project):
    done = CliRunner().invoke(app, ["tune", *SEARCH, "tune.trials=1", "-p", str(project)])
    assert done.exit_code == 0, done.output
    (folder,) = (project / "tuning").iterdir()
    first = found_in(folder)["trials"]
    assert len(first) == 1

    told: list[str] = []
    again = pipeline.tune(loaded(project, *SEARCH, "tune.trials=3"), told.append)
    assert again == folder, "a larger budget is the same search"
    found = found_in(folder)
    assert found["trials"][:1] == first and len(found["trials"]) == 3 and len(told) == 2
    for trial in found["trials"]:
        assert 1e-5 <= trial["settings"]["learning_rate"] <= 1e-2
        assert trial["settings"]["rank"] in (2, 4)
        assert f"method.alpha={2 * trial['settings']['rank']}" in trial["words"], (
            "the scale goes with the rank"
        )
        assert trial["seconds"] > 0
    whole = [trial for trial in found["trials"] if trial["state"] == "complete"]
    assert found["best"]["eval_loss"] == min(trial["eval_loss"] for trial in whole)
    assert f"best: {' '.join(first[0]['words'])}" in " ".join(done.output.split())
    kept = {run.name for run in (folder / "runs").iterdir() if (run / "golden").is_dir()}
    assert kept == {found["best"]["run"]}, "only the best keeps its weights"
    assert not list((folder / "runs").glob("*/checkpoints"))
    page = (folder / "tuning.html").read_text()
    assert page.count('<circle class="dot') == 6 and "http" not in page.replace("http-equiv", "")
    before = sorted((folder / "runs").iterdir())
    pipeline.tune(loaded(project, *SEARCH, "tune.trials=3"), told.append)
    assert sorted((folder / "runs").iterdir()) == before
    assert told[-1].startswith("the budget is spent, after 3 trials")


def test_two_sessions_are_not_at_one_search_at_once(project):
    """The second would end the first one's trial as one that was left, and delete its checkpoints."""
    words, refused = [*SEARCH, "train.weight_decay=0.03"], []

    def meanwhile(line: str) -> None:
        records = [path for path in project.glob("tuning/*/search.json") if words[-1] in path.read_text()]
        (folder,) = (path.parent for path in records)
        before = {path: path.read_bytes() for path in folder.glob("s*")}
        with pytest.raises(ConfigError, match=r"is being searched by process \d+ on this machine") as caught:
            pipeline.tune(loaded(project, *words, "tune.trials=9"), lambda line: None)
        assert before == {path: path.read_bytes() for path in folder.glob("s*")} and len(before) == 2
        refused.append(caught.value)

    pipeline.tune(loaded(project, *words, "tune.trials=1"), meanwhile)
    assert len(refused) == 1


def test_a_trial_worse_than_most_at_the_same_place_is_given_up(project, monkeypatch):
    """The third trial learns nothing: its rate is a millionth of the others'."""
    words = ["tune.learning_rate=[1e-3, 9e-3]", "tune.objective=eval_loss", "tune.trials=3", *SHORT]
    monkeypatch.setattr(search, "STARTUP_TRIALS", 2)
    real, made = stages.train, []

    def train(config, *args, **kwargs):
        made.append(config)
        if len(made) == 3:
            slow = config.train.model_copy(update={"learning_rate": 1e-9})
            config = config.model_copy(update={"train": slow})
        return real(config, *args, **kwargs)

    monkeypatch.setattr(stages, "train", train)
    folder = pipeline.tune(loaded(project, *words), lambda line: None)
    last = found_in(folder)["trials"][-1]
    assert last["state"] == "given up"
    manifest = json.loads((folder / "runs" / last["run"] / "manifest.json").read_text())
    assert manifest["stopped_early"] and manifest["golden"]["step"] == 1, "after its first validation"
    assert found_in(folder)["best"]["number"] < 2


@pytest.mark.parametrize(("step", "sessions"), [(1, [0, 1]), (LAST, [0])])
def test_a_search_that_was_interrupted_goes_on_with_its_trial(step, sessions, project, monkeypatch):
    """Within a trial, or in its last save: then it counts, and no other begins."""
    words = ["tune.learning_rate=[1e-3, 9e-3]", "tune.trials=1", *SHORT, f"train.weight_decay=0.0{step}"]
    real = stages.run_trainer

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == step < LAST:
                os.kill(os.getpid(), signal.SIGINT)

        def on_save(self, args, state, control, **_):
            if state.global_step == step == LAST:
                os.kill(os.getpid(), signal.SIGINT)

    def interrupted(trainer, *args, **kwargs):
        trainer.callback_handler.callbacks.insert(0, Stop())
        return real(trainer, *args, **kwargs)

    monkeypatch.setattr(stages, "run_trainer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.tune(loaded(project, *words), lambda line: None)
    monkeypatch.setattr(stages, "run_trainer", real)
    folder = pipeline.tune(loaded(project, *words), lambda line: None)
    (run,) = (folder / "runs").iterdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and [one["from_step"] for one in manifest["sessions"]] == sessions
    (trial,) = found_in(folder)["trials"]
    assert trial["state"] == "complete" and math.isfinite(trial["score"])


def test_a_search_stopped_by_sigterm_says_how_to_go_on_and_does(pristine, warm, tmp_path):
    project = shutil.copytree(pristine, tmp_path / "project")
    words = ["tune.learning_rate=[1e-3, 9e-3]", "tune.trials=1", *SHORT]
    done = warm.casekit(project, "tune", *words, plot=("send", "step", int(signal.SIGTERM), 1))
    assert done.code == 75, done.said
    assert "stopped with 0 of 1 trials done" in done.said
    assert "the same command goes on with the search" in done.said
    assert "train --resume" not in done.said and "Traceback" not in done.said
    (folder,) = (project / "tuning").iterdir()
    assert found_in(folder)["trials"] == [] and "No trial ran" in (folder / "tuning.html").read_text()
    (begun,) = (folder / "runs").iterdir()

    refused = warm.casekit(project, "tune", "--resume", "tune.trials=2", "train.weight_decay=0.5")
    assert refused.code == 2 and len(list((project / "tuning").iterdir())) == 1
    was = "train.weight_decay was 0.0 when the search began and is 0.5 now"
    assert f"{was} (command line: train.weight_decay=0.5)" in refused.said
    assert (
        f"tuning/{folder.name} cannot go on as it began" in refused.said
        and "tune.trials" not in (refused.said.partition("words:")[2].partition("error")[2])
    )

    again = warm.casekit(project, "tune", "--resume")  # without its words
    assert again.code == 0, again.said
    (trial,) = found_in(folder)["trials"]
    assert trial["run"] == begun.name and trial["state"] == "complete"
    sessions = json.loads((begun / "manifest.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 1]


def test_a_rate_at_which_the_loss_explodes_is_a_failed_trial(project, monkeypatch):
    from kit.config.errors import InvalidRunError, Problem

    def explode(*args, **kwargs):
        raise InvalidRunError(Problem("run", "the loss at step 2 is no number"))

    monkeypatch.setattr(stages, "train", explode)
    told: list[str] = []
    words = ["tune.learning_rate=[1e-3, 1e-2]", "tune.trials=2", "train.weight_decay=0.02"]
    folder = pipeline.tune(loaded(project, *words), told.append)
    found = found_in(folder)
    assert [trial["state"] for trial in found["trials"]] == ["failed", "failed"] and found["best"] is None
    assert "failed, the loss at step 2 is no number" in told[0]
    assert "No trial ran to its end yet" in (folder / "tuning.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tune.rank=[2, 4]", "method=full"], "method full has none"),
        (["tune.rank=[2, 4]", "method=oft"], "method oft has none"),
        (["tune.global_batch_size=[8, 12]"], "trial by train.global_batch_size=12"),
        (["train.stages=[sft]"], "set train.stage in its place"),
        (["hardware.num_processes=2", "train.global_batch_size=16"], "trials run in one process"),
        (["tune.learning_rate=[1e-3]"], "a lowest and a highest rate"),
        (["tune.learning_rate=[]"], "nothing to search"),
    ],
)
def test_a_search_that_could_compare_nothing_is_refused(words, said, project):
    before = sorted(project.glob("tuning/*"))
    with pytest.raises(ConfigError) as refused:
        pipeline.tune(loaded(project, *words), lambda line: None)
    assert said in str(refused.value)
    assert sorted(project.glob("tuning/*")) == before, "no study was opened"


def test_without_validation_rows_there_is_nothing_to_compare_by(project, tmp_path):
    (tmp_path / "valid").mkdir()
    with pytest.raises(ConfigError, match="no validation row"):
        check_tunable(loaded(project), tmp_path)


def test_another_policy_or_language_is_another_search(project, tmp_path):
    def folder(*words: str, policy: str) -> Path:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf" / "policy.yaml").write_text(policy)
        of_project = replace(loaded(project, *words), root=tmp_path)
        return search_folder(of_project, tmp_path / "rows", load_hooks(tmp_path))

    first = folder(policy=POLICY)
    assert folder("tune.trials=3", policy=POLICY) == first, "the budget is not what is searched"
    assert folder(policy=POLICY.replace("tomorrow", "today")) != first
    assert folder("recipe.languages=[en, de]", policy=POLICY) != first
