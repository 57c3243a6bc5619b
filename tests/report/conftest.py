import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report_samples import Sample, build
from saved_project import saved_project

from kit import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A finance project with an evaluation of 120 prompts."""
    return build(tmp_path, prompts=120)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with saved answers and no report; made once, copied by `project`."""
    return saved_project(tmp_path_factory.mktemp("saved") / "bank")


@pytest.fixture
def project(saved: Path, tmp_path: Path) -> Path:
    """A project of one's own with the evaluation `first`, at the place where commands are typed."""
    folder = tmp_path / "bank"
    shutil.copytree(saved, folder)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture
def casekit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command as a person types it: (exit code, what it printed, what it told on stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["casekit", *words])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run
