"""The project's own readers, cleaners and metrics, found through its entry points.

The table `[project.entry-points."casekit.hooks"]` is read from the project's `pyproject.toml`
rather than from what is installed, so that several projects can share one environment.
"""

import importlib
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, Problem

Row = dict[str, Any]
Reader = Callable[[Row], Row]
Cleaner = Callable[[Row], Row | None]
Score = Callable[[Sequence[str], Sequence[dict[str, Any]]], list[float | None]]


@dataclass(frozen=True)
class Metric:
    """A metric of the project: `score` gives every prompt a number, or None where it does not apply."""

    label: str
    score: Score
    higher_is_better: bool = True


@dataclass(frozen=True)
class Hooks:
    """Everything a project adds to the kit, by name."""

    readers: dict[str, Reader] = field(default_factory=dict)
    cleaners: dict[str, Cleaner] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    """The modules' files: their bytes are part of the data's fingerprint."""


def load_hooks(root: Path) -> Hooks:
    """Import the hook modules that the project at `root` declares; none declared means no hooks.

    Raises:
        ConfigError: a declared module cannot be imported, with the reason.
    """
    declaration = root / "pyproject.toml"
    if not declaration.is_file():
        return Hooks()
    project = tomllib.loads(declaration.read_text(encoding="utf-8")).get("project", {})
    modules = project.get("entry-points", {}).get("casekit.hooks", {})
    hooks = Hooks()
    for module_name in modules.values():
        module = _import(module_name, root)
        hooks = Hooks(
            readers={**hooks.readers, **getattr(module, "readers", {})},
            cleaners={**hooks.cleaners, **getattr(module, "cleaners", {})},
            metrics={**hooks.metrics, **getattr(module, "metrics", {})},
            files=(*hooks.files, Path(str(module.__file__))),
        )
    return hooks


def _import(module_name: str, root: Path) -> Any:
    source = str(root / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            Problem(
                where=f'{root / "pyproject.toml"} [project.entry-points."casekit.hooks"]',
                message=f"cannot import {module_name!r}: {error}",
                hint=f"expected the module under {source}; fix the import or remove the entry",
            )
        ) from error
