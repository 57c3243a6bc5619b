"""The search around its trials, with runs that only leave the files of a run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit.config.errors import ConfigError, InvalidRunError, ModelError, Problem
from kit.config.schema import Config
from kit.tune.page import log_ticks, rate_plot, results
from kit.tune.search import open_study, search

pytest.importorskip("optuna", reason="the extra `tune` is not installed")

CONFIG = Config.model_validate({"tune": {"trials": 3}})


def leave_run(folder: Path, name: str, loss: float, status: str = "finished") -> Path:
    """What a run of one validation leaves."""
    run = folder / "runs" / name
    (run / "golden").mkdir(parents=True)
    (run / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"status": status}))
    line = {"step": 1, "kind": "eval", "task_score": 1.0, "eval_loss": loss}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return run


def kept(folder: Path, what: str) -> list[str]:
    return [path.parent.name for path in sorted(folder.glob(f"runs/*/{what}"))]


def test_of_equal_scores_the_weights_of_the_reported_best_are_kept(tmp_path):
    losses = iter([0.9, 0.5, 0.7])

    def run_trial(words, resume, gives_up):
        loss = next(losses)
        return leave_run(tmp_path, f"run-{loss}", loss)

    study = open_study(tmp_path, seed=1)
    search(study, CONFIG, tmp_path, run_trial, lambda line: None)
    assert results(study, CONFIG)["best"]["run"] == "run-0.5"
    assert kept(tmp_path, "golden") == ["run-0.5"] and kept(tmp_path, "checkpoints") == []
    told: list[str] = []
    search(study, CONFIG, tmp_path, run_trial, told.append)
    assert told == [
        "the budget is spent, after 3 trials: a larger `tune.trials` or `tune.max_hours` goes on"
    ], "or nobody knows why nothing ran"


def test_an_error_that_every_trial_would_meet_ends_the_search_and_is_not_met_for_ever(tmp_path):
    tried = []

    def run_trial(words, resume, gives_up):
        tried.append(words)
        if len(tried) == 1:
            leave_run(tmp_path, "run-1", 0.5, "failed")
            raise ModelError(Problem("model.name", "cannot be loaded"))
        return leave_run(tmp_path, f"run-{len(tried)}", 0.5)

    with pytest.raises(ModelError):
        search(open_study(tmp_path, seed=1), CONFIG, tmp_path, run_trial, lambda line: None)
    study = open_study(tmp_path, seed=1)
    search(study, CONFIG, tmp_path, run_trial, lambda line: None)
    assert len(tried) == 4 and tried[0] not in tried[1:], "its settings are not tried again"
    assert [trial["state"] for trial in results(study, CONFIG)["trials"]] == ["complete"] * 3


@pytest.mark.parametrize(
    "error",
    [
        InvalidRunError(Problem("run", "the loss is no number")),
        ConfigError(Problem("command line: train.learning_rate=1", "the loss is no number")),
    ],
)
def test_a_trial_that_its_own_words_made_fail_is_a_result_and_leaves_only_its_curve(tmp_path, error):
    def run_trial(words, resume, gives_up):
        leave_run(tmp_path, f"run-{words}", 0.5, "failed")
        raise error

    study = open_study(tmp_path, seed=1)
    search(study, CONFIG, tmp_path, run_trial, lambda line: None)
    trials = results(study, CONFIG)["trials"]
    assert [trial["failed"] for trial in trials] == ["the loss is no number"] * 3
    assert {trial["run"] for trial in trials} == {path.name for path in (tmp_path / "runs").iterdir()}
    assert kept(tmp_path, "golden") == kept(tmp_path, "checkpoints") == []


@pytest.mark.parametrize(("least", "most"), [(0.117, 5.12), (0.1, 1.0), (1e-4, 9e3)])
def test_good_rates_can_be_told_apart_though_bad_ones_are_far_off(least, most):
    """On a linear scale 0.117 and 0.146 beside 5.12 are one pixel apart."""
    losses = [least, least * 1.25, most]
    trials = [
        {"settings": {"learning_rate": rate}, "eval_loss": loss, "state": "complete"}
        for rate, loss in zip((7e-3, 3e-3, 1e-5), losses, strict=True)
    ]
    drawn = rate_plot(trials, "eval_loss", "Lowest loss")
    best, next_best, worst = (float(y) for y in re.findall(r'<circle [^>]*cy="([0-9.]+)"', drawn))
    assert 216.0 >= best > next_best + 2 and next_best > worst >= 16.0 and "log scale" in drawn
    marks = [mark for mark, _ in log_ticks(least, most)]
    assert marks == sorted(marks) and marks[0] <= least and marks[-1] >= most and len(marks) <= 10


def test_scores_and_losses_close_together_keep_a_linear_scale():
    scores = {7e-3: 0.0, 3e-3: -0.4}
    trials = [
        {"settings": {"learning_rate": rate}, "score": score, "state": "complete"}
        for rate, score in scores.items()
    ]
    assert "log scale" not in rate_plot(trials, "score", "Score by learning rate")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{here!r}]
from test_train_search import CONFIG, leave_run
from kit.tune.search import open_study, search

def run_trial(words, resume, gives_up):
    leave_run(Path({folder!r}), "run-killed", 0.5, "running")
    os.kill(os.getpid(), signal.SIGKILL)

search(open_study(Path({folder!r}), 1), CONFIG, Path({folder!r}), run_trial, print)
"""


def test_a_trial_that_was_killed_goes_on_with_its_run(tmp_path):
    script = KILLED.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    resumed = []

    def run_trial(words, resume, gives_up):
        resumed.append(resume)
        if resume is None:
            return leave_run(tmp_path, f"run-{len(resumed)}", 0.9)
        assert (resume / "checkpoints" / "checkpoint-1").is_dir(), "what it goes on from was not deleted"
        (resume / "manifest.json").write_text('{"status": "finished"}')
        return resume

    study = open_study(tmp_path, seed=1)
    search(study, CONFIG, tmp_path, run_trial, lambda line: None)
    assert resumed == [tmp_path / "runs" / "run-killed", None, None]
    assert results(study, CONFIG)["best"]["run"] == "run-killed"
    assert kept(tmp_path, "golden") == ["run-killed"] and kept(tmp_path, "checkpoints") == []
