"""A run that was stopped or killed on a GPU, and goes on: it ends as one that was not."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from gpu_beside import KILLED
from gpu_world import Apart, apart, casekit, newest_run, on_a_gpu
from transformers.trainer_callback import CallbackHandler

pytestmark = [on_a_gpu, pytest.mark.slow]
WORDS = {"lora": KILLED, "full, packed": ("method=full", "train.packing=true", *KILLED[1:])}


class Unbroken:
    """Runs that nobody stopped, each made once, and how far two of them are from each other."""

    def __init__(self, pristine: Path, folder: Path) -> None:
        self.pristine, self.folder = pristine, folder
        self.made: dict[str, tuple[Path, Apart]] = {}

    def __call__(self, kind: str) -> tuple[Path, Apart]:
        if kind not in self.made:
            runs = [self._train(kind, f"{len(self.made)}-{turn}") for turn in range(2)]
            self.made[kind] = runs[0], apart(*runs)
        return self.made[kind]

    def _train(self, kind: str, name: str) -> Path:
        project = shutil.copytree(self.pristine, self.folder / name)
        assert casekit("train", *WORDS[kind], "-p", str(project)) == 0
        return newest_run(project)


@pytest.fixture(scope="module")
def unbroken(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return Unbroken(pristine, tmp_path_factory.mktemp("unbroken"))


def assert_as_unbroken(found: Apart, twice: Apart) -> None:
    """Equal bit for bit where two runs that nobody stopped are; else no further apart than rounding goes.

    Some kernels add in the order in which their threads come, so that a run is not the same twice.
    """
    assert found.weights <= 4 * twice.weights and found.losses <= 4 * twice.losses, (found, twice)


@pytest.mark.parametrize("kind", WORDS)
def test_a_run_stopped_by_sigterm_goes_on_to_the_same_end(
    kind, pristine, unbroken, tmp_path, monkeypatch, capfd, measured
):
    project = shutil.copytree(pristine, tmp_path / "project")
    original, begun = CallbackHandler.on_step_begin, []

    def third(*args: Any, **kwargs: Any) -> Any:
        begun.append(1)
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(CallbackHandler, "on_step_begin", third)
        assert casekit("train", *WORDS[kind], "-p", str(project)) == 75
    run = newest_run(project)
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert "stopped by SIGTERM" in " ".join(capfd.readouterr().err.split())
    assert casekit("train", "--resume", *WORDS[kind], "-p", str(project)) == 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert [session["from_step"] for session in manifest["sessions"]] == [0, 3]
    whole, twice = unbroken(kind)
    found = apart(run, whole)
    measured(f"{kind}, SIGTERM and --resume against unbroken: {found} (two unbroken ones: {twice})")
    assert_as_unbroken(found, twice)


def test_a_run_that_was_killed_goes_on_to_the_same_end(killed, unbroken, measured):
    """The command in processes of its own, as a user's; with dropout."""
    assert killed.codes == (-signal.SIGKILL, 0), killed.said
    assert killed.sessions == [0, 2], "the checkpoint before the step in which it was killed"
    whole, twice = unbroken("lora")
    found = apart(killed.run, whole)
    measured(f"lora, kill -9 and --resume against unbroken: {found} (two unbroken ones: {twice})")
    assert_as_unbroken(found, twice)


def test_the_comparison_would_see_a_difference(pristine, unbroken, tmp_path):
    project = shutil.copytree(pristine, tmp_path / "project")
    assert casekit("train", *WORDS["lora"], "train.learning_rate=3.003e-3", "-p", str(project)) == 0
    whole, twice = unbroken("lora")
    found = apart(newest_run(project), whole)
    assert found.weights > 4 * twice.weights
