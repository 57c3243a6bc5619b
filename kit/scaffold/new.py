"""`casekit new`: one Copier run that gives a ready project."""

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from copier import Settings, run_copy
from jinja2 import Environment

from kit.config.errors import ConfigError, Problem
from kit.scaffold.answers import check_answers
from kit.scaffold.source import copier_errors, provenance, scaffold_root


def new_project(
    destination: Path, answers: Mapping[str, object], defaults: bool, quiet: bool = False
) -> None:
    """Render the project for a recipe into `destination` and say what to do next (on stderr).

    The bytes are those of `copier copy`: the person's own Copier settings are left out, so that the
    same answers give the same project everywhere.

    Args:
        destination: the folder to make.
        answers: answers to the questions of `copier.yml`, by name; the rest is asked.
        defaults: ask nothing and take defaults.
        quiet: do not say what to do next.

    Raises:
        ConfigError: an unknown question, an answer that is not allowed, a destination in use; all at once
            as far as they can be known before asking.
    """
    root = scaffold_root()
    given = check_answers(root, answers, defaults)
    _refuse_used(destination)
    with copier_errors(where="casekit new"):
        run_copy(
            str(root),
            destination.resolve(),  # its name is the project's, also where it is given as `.`
            data={**given, **provenance(root)},
            # The template of this very checkout; Copier's own choice would be the last release.
            vcs_ref="HEAD" if (root / ".git").exists() else None,
            defaults=defaults,
            quiet=True,
            unsafe=False,
            settings=Settings(),
        )
    if not quiet:
        print(_next_steps(root, destination), file=sys.stderr)
    if _uncommitted(root):
        print(
            f"Made from uncommitted changes in {root}: this project cannot be updated later. "
            "Commit there and make it anew if it is to live.",
            file=sys.stderr,
        )


def _refuse_used(destination: Path) -> None:
    if destination.exists() and not destination.is_dir():
        raise ConfigError(Problem(str(destination), "is a file", "name a folder to make"))
    if destination.is_dir() and any(destination.iterdir()):
        raise ConfigError(
            Problem(
                str(destination),
                "is not empty",
                "name a new folder; `casekit update` brings improvements to a project that is already there",
            )
        )


def _next_steps(root: Path, destination: Path) -> str:
    """The message that Copier itself would show, with the answers it recorded."""
    copier: dict[str, Any] = yaml.safe_load((root / "copier.yml").read_text(encoding="utf-8"))
    recorded = yaml.safe_load((destination / ".copier-answers.yml").read_text(encoding="utf-8"))
    environment = Environment(autoescape=False)  # noqa: S701 (a terminal shows it)
    environment.filters["quote"] = shlex.quote  # as Copier has it
    message = environment.from_string(copier["_message_after_copy"])
    return str(message.render({**recorded, "_copier_conf": {"dst_path": destination}}))


def _uncommitted(root: Path) -> bool:
    if not (root / ".git").exists():
        return False
    status = subprocess.run(
        ["git", "-C", str(root), "status", "--porcelain"], capture_output=True, text=True, check=False
    )
    return bool(status.stdout.strip())
