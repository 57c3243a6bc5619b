"""`casekit update`: later improvements of recipe and template, without losing an edit in silence.

Plain `copier update` exits 0 with conflicts left, and drops edits to files that the template removed or
renamed. So the recorded version is rendered once more to see which files were edited, and after the
update whatever needs a hand is listed.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from copier import Settings, run_copy, run_update

from kit.config import load_config
from kit.config.errors import ConfigError, Problem
from kit.scaffold.answers import Answers, check_answers
from kit.scaffold.source import copier_errors, scaffold_root

ANSWERS_FILE = ".copier-answers.yml"
CHANGEABLE = ("recipe", "ci")
"""Answers whose files belong to the template. The others became files that are the user's own."""


@dataclass(frozen=True)
class UpdateResult:
    """What an update left for a person to do; paths relative to the project, sorted."""

    conflicts: list[str]
    """Files with conflict markers."""
    lost_edits: list[str]
    """Edited files that the template removed or renamed; the last commit still has them."""
    problems: list[Problem]
    """What is wrong with the settings now, such as a language that the new recipe does not speak."""


def update_project(
    root: Path, answers: Mapping[str, object] | None = None, version: str | None = None
) -> UpdateResult:
    """Update the project at `root` from where it was made.

    Args:
        root: the project, committed to git.
        answers: a new `recipe` or `ci`, as values or as text; every other answer stays as recorded.
        version: the tag or commit to update to; by default the last release, or the checkout's HEAD
            where the project was made from a folder.

    Raises:
        ConfigError: not a project or its record is broken, uncommitted changes, a source that is gone or
            cannot be fetched, a version that does not exist, answers that an update cannot change.
    """
    recorded = _recorded(root)
    changed = _changed(answers or {})
    source = str(recorded["_src_path"])
    local = Path(source).is_dir()
    if local:
        _refuse_uncommitted(Path(source), "it would be recorded as a version that exists nowhere")
    _refuse_uncommitted(root, "an update could not be told from your own changes")
    edited = _edited(root, recorded)
    with copier_errors(where=str(root), hint=_unreachable(source)):
        run_update(
            root,
            data=changed,
            vcs_ref=version or ("HEAD" if local else None),
            defaults=True,
            overwrite=True,
            conflict="inline",
            quiet=True,
            unsafe=False,
            settings=Settings(),
        )
    return UpdateResult(
        conflicts=_conflicts(root),
        lost_edits=sorted(path for path in edited if not (root / path).exists()),
        problems=_setting_problems(root),
    )


def _setting_problems(root: Path) -> list[Problem]:
    """The person's own settings were not touched; loading them shows whether they fit the new recipe."""
    try:
        load_config(root)
    except ConfigError as error:
        return error.problems
    return []


def _recorded(root: Path) -> dict[str, Any]:
    file = root / ANSWERS_FILE
    if not file.is_file():
        raise ConfigError(
            Problem(str(file), "is not here", "go to a project's folder, or make one with `casekit new`")
        )
    recorded = _answers(file)
    if not recorded.get("_src_path") or not recorded.get("_commit"):
        raise ConfigError(
            Problem(
                str(file),
                "does not say which version the project was made from",
                "it came from a folder without git or an unreleased casekit; make a new project from a "
                "release and carry your files over (docs/how-to/update-a-project.md)",
            )
        )
    return recorded


def _answers(file: Path) -> dict[str, Any]:
    """The recorded answers, read as Copier reads them."""
    hint = (
        "mend it, or take back the last good one (`git log -- .copier-answers.yml`); where it holds conflict "
        "markers, keep one side"
    )
    try:
        recorded = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(file), f"not UTF-8: {error.reason}", hint)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(Problem(where, f"not valid YAML: {reason}", hint)) from error
    if not isinstance(recorded, dict) or not all(isinstance(name, str) for name in recorded):
        raise ConfigError(Problem(f"{file}:1", "expected `question: answer` lines", hint))
    return recorded


def _changed(answers: Mapping[str, object]) -> Answers:
    problems = [
        Problem(name, "an update cannot change this answer", "change conf/project.yaml, which is yours")
        for name in answers
        if name not in CHANGEABLE
    ]
    if problems:
        raise ConfigError(problems)
    return check_answers(scaffold_root(), answers, defaults=False)


def _refuse_uncommitted(folder: Path, because: str) -> None:
    status = _git(folder, "status", "--porcelain")
    if status:
        first, *more = status.splitlines()
        files = f"{first.strip()} and {len(more)} more" if more else first.strip()
        raise ConfigError(
            Problem(str(folder), f"has uncommitted changes ({files})", f"commit them first: {because}")
        )


def _edited(root: Path, recorded: dict[str, Any]) -> list[str]:
    """Files of the project that differ from what its recorded version renders."""
    source, version = str(recorded["_src_path"]), str(recorded["_commit"])
    answers = {name: value for name, value in recorded.items() if not name.startswith("_")}
    with TemporaryDirectory(prefix="casekit-update-") as folder:
        with copier_errors(where=f"{ANSWERS_FILE}: version {version}", hint=_unreachable(source)):
            run_copy(
                source,
                folder,
                data=answers,
                vcs_ref=version,
                defaults=True,
                quiet=True,
                unsafe=False,
                settings=Settings(),
            )
        original = Path(folder)
        files = [path.relative_to(original) for path in original.rglob("*") if path.is_file()]
        return [
            path.as_posix()
            for path in files
            if (root / path).is_file() and (root / path).read_bytes() != (original / path).read_bytes()
        ]


def _conflicts(root: Path) -> list[str]:
    names = _git(root, "diff", "--name-only", "--diff-filter=U", "--relative", "-z")
    return sorted({name for name in names.split("\0") if name})


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(
            Problem(str(folder), done.stderr.strip(), "casekit updates projects that are kept in git")
        )
    return done.stdout


def _unreachable(source: str) -> str:
    return (
        f"the project was made from {source}; without a network, point git at a copy of it "
        "(docs/how-to/update-a-project.md)"
    )
