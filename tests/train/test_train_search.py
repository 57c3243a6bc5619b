"""The search around its trials, with runs that only leave the files of a run."""

import json
from pathlib import Path

import pytest

from kit.config.schema import Config
from kit.tune.page import results
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
