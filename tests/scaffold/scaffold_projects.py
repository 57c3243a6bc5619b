"""Scaffolds taken from this checkout, projects made from them, and what a test asks of both.

Nothing here asks this repository's own history: Copier would take its last tag and test an old release.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from copier import Settings, run_copy

ROOT = Path(__file__).parents[2]
RECIPES = ["finance", "medical", "ecommerce", "blank"]
SCAFFOLD = ("copier.yml", "pyproject.toml", "template", "recipes")
Render = Callable[..., Path]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def copy_scaffold(
    into: Path, names: tuple[str, ...] = ("copier.yml", "pyproject.toml", "template", "recipes")
) -> Path:
    """The working tree's scaffold, uncommitted changes included."""
    into.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", "_scaffold", "*.pyc")
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, into / name)
    return into


def render(source: Path | str, destination: Path, **answers: Any) -> Path:
    """What `copier copy` makes, in process, with no trust and none of this machine's own settings; named
    after the recipe, not after the test's folder.
    """
    if "recipe" in answers:
        answers = {"project_name": f"{answers['recipe']}-assistant"} | answers
    run_copy(
        str(source),
        destination,
        data=answers,
        vcs_ref="HEAD" if (Path(source) / ".git").is_dir() else None,
        defaults=True,
        quiet=True,
        unsafe=False,
        settings=Settings(),
    )
    return destination


def contents(project: Path) -> dict[str, bytes]:
    """Every file of a project, by its path."""
    files = (path for path in project.rglob("*") if path.is_file())
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in files
        if not {".git", "__pycache__", ".pytest_cache", ".ruff_cache"} & set(path.relative_to(project).parts)
    }


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without what make or git hand to their children."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    } | extra
