"""`casekit train` stopped from outside, in its own process: what it says, leaves and exits with."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from rich.console import Console
from train_project import loaded
from train_world import same_end

from kit.config.errors import Terminated
from kit.models.loading import load_tuned
from kit.train.checkpoints import read_pending, usable_checkpoint
from kit.train.interruption import Interruption

pytestmark = pytest.mark.slow

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
DROPOUT = "method.dropout=0.1"


@pytest.fixture(scope="module")
def unbroken(pristine: Path, warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = shutil.copytree(pristine, tmp_path_factory.mktemp("unbroken") / "project")
    assert warm.casekit(project, "train", DROPOUT).code == 0
    (run,) = (project / "runs").iterdir()
    return run


@pytest.mark.parametrize(
    ("moment", "number", "times", "code", "checkpoint"),
    [
        ("loading", TERM, 1, 75, None),
        ("step", INT, 1, 130, "checkpoint-1"),
        ("step", INT, 2, 130, None),
        ("step", TERM, 2, 75, "checkpoint-1"),  # what sends it repeats it: that must not cut off the save
        ("validation", TERM, 1, 75, "checkpoint-2"),
        ("answers", TERM, 1, 75, "checkpoint-2"),
        ("scoring", TERM, 1, 75, "checkpoint-2"),
        ("golden", INT, 2, 130, None),
        ("golden", TERM, 1, 75, "checkpoint-2"),
        ("saving", TERM, 1, 75, "checkpoint-2"),
        ("saving", KILL, 1, -KILL, None),
    ],
)
def test_a_stopped_run_says_how_to_go_on_and_does(
    moment, number, times, code, checkpoint, pristine, unbroken, warm, tmp_path
):
    project = shutil.copytree(pristine, tmp_path / "project")
    done = warm.casekit(project, "train", DROPOUT, plot=("send", moment, int(number), times))
    (run,) = (project / "runs").iterdir()
    status = json.loads((run / "manifest.json").read_text())["status"]
    assert done.code == code, done.said
    if number == KILL:
        assert status == "running"
    else:
        assert status == "interrupted"
        assert "`casekit train --resume` continues" in done.said
        assert "Traceback" not in done.said
    found = usable_checkpoint(run, pytest.fail)
    assert (found and found.name) == checkpoint
    left_off = moment in ("validation", "answers")
    assert bool(read_pending(found).get("validation")) == left_off, "a validation is not waited for"

    again = warm.casekit(project, "train", "--resume")
    assert again.code == 0, again.said
    assert f"{run.name} goes on with its words: {DROPOUT}" in again.said, "the run knows its words"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    assert [path.name for path in run.glob(".*")] == [], "something half-written was left"
    same_end(run, unbroken)
    assert load_tuned(run / "golden", loaded(project).config) is not None


def test_a_step_and_a_save_that_outlast_the_notice_are_warned_of_once(capsys):
    from types import SimpleNamespace

    from rich.console import Console

    from kit.train.interruption import Notice

    manifest: dict[str, float] = {}
    trainer = SimpleNamespace(seconds_to_save=12.0)
    notice = Notice(trainer, manifest, Console())
    notice.longest_step = 17.0
    notice.on_save(None, None, None)
    assert manifest == {"seconds_to_save": 12.0} and capsys.readouterr().out == ""
    trainer.seconds_to_save = 14.5
    notice.on_save(None, None, None)
    notice.on_save(None, None, None)
    said = " ".join(capsys.readouterr().out.split())
    assert manifest == {"seconds_to_save": 14.5}
    assert said.count("gives 30 s' notice") == 1 and "17 s and a save 14" in said


def test_a_second_sigterm_cuts_off_nothing_that_the_first_one_left_to_be_written():
    """Before the first step, and behind the last one; a second Ctrl-C stops at once wherever it comes."""
    early = Interruption(Console(quiet=True))
    with pytest.raises(Terminated):
        early.ask(TERM, None)
    early.ask(TERM, None)  # while the manifest is closed, say

    late = Interruption(Console(quiet=True))
    late.on_train_begin(None, None, None)
    late.ask(TERM, None)
    late.on_train_end(None, None, None)
    late.ask(TERM, None)
    assert late.agree_to_stop() and late.terminated, "it is heeded all the same"
    with pytest.raises(Terminated):
        late.ask(INT, None)
