"""Where the scaffold is, what it asks, and how Copier's failures become errors a person can act on."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import yaml
from copier.errors import CopierAnswersInterrupt, CopierError, DirtyLocalWarning, ShallowCloneWarning
from plumbum import ProcessExecutionError

import kit
from kit.config.errors import ConfigError, Problem


@dataclass(frozen=True)
class Question:
    """One entry of `copier.yml`: asked of a person, or computed from the other answers."""

    name: str
    asked: bool
    needed: bool
    """It has no default."""
    choices: tuple[str, ...]
    """The allowed values; empty where any text may be given or the recipe decides."""
    multiselect: bool


def scaffold_root() -> Path:
    """The folder with `copier.yml`, `template/` and `recipes/`: the checkout, or a part of the wheel."""
    package = Path(kit.__file__).resolve().parent
    in_wheel = package / "_scaffold"
    return in_wheel if in_wheel.is_dir() else package.parent


def provenance(root: Path) -> dict[str, str]:
    """Hidden answers that say where a project came from, if the scaffold at `root` came with a wheel.

    A path inside an installed package cannot be updated from; the repository's release tag can. Only
    a release has a tag, so a project of a development version records the repository alone.
    """
    if root.name != "_scaffold":
        return {}
    urls = dict(line.split(", ", 1) for line in metadata("casekit").get_all("Project-URL") or [])
    return {"template_source": urls["Source"], "template_ref": f"v{kit.__version__}" if _released() else ""}


def _released() -> bool:
    """Whether the version has a tag: development versions and local builds (`.dev1`, `+abc`) have none."""
    return re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?", kit.__version__) is not None


def questions(root: Path) -> list[Question]:
    """The questions of `copier.yml`, in its order."""
    tree = yaml.safe_load((root / "copier.yml").read_text(encoding="utf-8"))
    return [_question(name, entry) for name, entry in tree.items() if not name.startswith("_")]


def _question(name: str, entry: dict[str, Any]) -> Question:
    choices = entry.get("choices", [])
    if isinstance(choices, dict):
        choices = list(choices.values())
    return Question(
        name=name,
        asked=entry.get("when", True) is not False,
        needed="default" not in entry,
        choices=() if isinstance(choices, str) else tuple(choices),
        multiselect=bool(entry.get("multiselect")),
    )


@contextmanager
def copier_errors(where: str, hint: str = "") -> Iterator[None]:
    """Run Copier: its errors, and those of the git it calls, become a `ConfigError` at `where`.

    Raises:
        ConfigError: with Copier's message, shortened to what a person needs.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DirtyLocalWarning)
            warnings.simplefilter("ignore", ShallowCloneWarning)
            yield
    except CopierAnswersInterrupt:
        raise  # Ctrl-C at a question is both an interrupt and an error to Copier
    except ProcessExecutionError as error:
        said = str(error.stderr or error).strip().splitlines()
        raise ConfigError(Problem(where, f"git failed: {said[-1] if said else error}", hint)) from error
    except (CopierError, ValueError) as error:
        refused = re.fullmatch(r"Validation error for question '(\w+)': (.*)", str(error), re.DOTALL)
        place, message = refused.groups() if refused else (where, str(error))
        problem = Problem(place, " ".join(message.split()), "" if refused else hint)
        raise ConfigError(problem) from error
