"""Throwaway scaffolds, as plain folders and as git repositories."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from scaffold_projects import Render, commit, copy_scaffold, git, render


@pytest.fixture(autouse=True)
def own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An author for commits, and no copies of remote repositories from an earlier test."""
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "copier-cache"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


@pytest.fixture(scope="session")
def scaffold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder: the fastest source, for tests that do not ask where a project came from."""
    return copy_scaffold(tmp_path_factory.mktemp("scaffold") / "casekit")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with the scaffold, one commit, no tag."""
    folder = copy_scaffold(tmp_path / "casekit")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "Scaffold")
    return folder


@pytest.fixture(scope="session")
def rendered() -> dict[str, Path]:
    """Projects that were rendered before, by their answers: not to be changed."""
    return {}


@pytest.fixture
def make(scaffold: Path, rendered: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Render:
    """A project to work on: `make(recipe="finance", ci="gitlab")`."""

    def build(**answers: Any) -> Path:
        key = repr(sorted(answers.items()))
        if key not in rendered:
            rendered[key] = render(scaffold, tmp_path_factory.mktemp("rendered") / "project", **answers)
        return shutil.copytree(rendered[key], tmp_path_factory.mktemp("project") / "project")

    return build
