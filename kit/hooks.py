"""The project's own readers, cleaners, checks and metrics, found through its entry points.

The table `[project.entry-points."casekit.hooks"]` is read from the project's `pyproject.toml`
rather than from what is installed, so that several projects can share one environment.
"""

import importlib
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from kit.config.errors import ConfigError, Problem

Row = dict[str, Any]
Reader = Callable[[Row], Row]
Cleaner = Callable[[Row], Row | None]
RowCheck = Callable[[Row], str | None]
Score = Callable[[Sequence[str], Sequence[dict[str, Any]]], list[float | None]]
About = Literal["safety", "agreement", "service", "form", "speed"]
"""What a metric is about: harm, the reference answer, what the customer asked for, language, or time."""


@dataclass(frozen=True)
class Metric:
    """A metric of the project: `score` gives every prompt a number, or None where it does not apply.

    An invalid answer (empty, cut, repeating, in a wrong language) scores `invalid_item`, for both systems
    alike, unless `score` gave None. Left out, that is 0 where higher is better, else 1: the worst value of
    a metric from 0 to 1. A metric with worse values than that must name its own.
    """

    label: str
    score: Score
    higher_is_better: bool = True
    invalid_item: float | None = None
    about: About = "service"
    """The group of scores that a report shows it in."""

    @property
    def worst(self) -> float:
        """What an invalid answer scores."""
        if self.invalid_item is not None:
            return self.invalid_item
        return 0.0 if self.higher_is_better else 1.0


@dataclass(frozen=True)
class Hooks:
    """Everything a project adds to the kit, by name."""

    readers: dict[str, Reader] = field(default_factory=dict)
    cleaners: dict[str, Cleaner] = field(default_factory=dict)
    checks: dict[str, RowCheck] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    """The Python files beside and below each module: their bytes are part of the data's fingerprint."""


def load_hooks(root: Path) -> Hooks:
    """Import the hook modules that the project at `root` declares; none declared means no hooks.

    Raises:
        ConfigError: a declared module cannot be imported, or offers something else than hooks.
    """
    declaration = root / "pyproject.toml"
    if not declaration.is_file():
        return Hooks()
    hooks = Hooks()
    for module_name in _declared(declaration):
        module = _import(module_name, root)
        hooks = Hooks(
            readers={**hooks.readers, **_offered(module, "readers")},
            cleaners={**hooks.cleaners, **_offered(module, "cleaners")},
            checks={**hooks.checks, **_offered(module, "checks")},
            metrics={**hooks.metrics, **_offered(module, "metrics")},
            files=(*hooks.files, *sorted(Path(str(module.__file__)).parent.rglob("*.py"))),
        )
    return hooks


def _declared(declaration: Path) -> list[str]:
    try:
        project = tomllib.loads(declaration.read_text(encoding="utf-8")).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem(str(declaration), f"not valid TOML: {error}")) from error
    return list(project.get("entry-points", {}).get("casekit.hooks", {}).values())


def _offered(module: ModuleType, kind: str) -> dict[str, Any]:
    """One of the module's mappings, such as `readers`; empty where it has none."""
    offered = getattr(module, kind, {})
    callables = offered.values() if isinstance(offered, dict) else [None]
    wanted = "casekit metrics (kit.hooks.Metric)" if kind == "metrics" else "functions"
    if not all(isinstance(value, Metric) if kind == "metrics" else callable(value) for value in callables):
        raise ConfigError(
            Problem(str(module.__file__), f"`{kind}` is no mapping of names to {wanted}", f"`{kind} = {{…}}`")
        )
    return dict(offered)


def _import(module_name: str, root: Path) -> ModuleType:
    source = root.resolve() / "src"
    if str(source) in sys.path:
        sys.path.remove(str(source))
    sys.path.insert(0, str(source))  # before another project's, which may have a package of this name
    _forget_namesake(module_name.partition(".")[0], source)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # a project's module may raise anything while it is imported
        raise ConfigError(
            Problem(
                where=f'{root / "pyproject.toml"} [project.entry-points."casekit.hooks"]',
                message=f"cannot import {module_name!r}: {type(error).__name__}: {error}",
                hint=f"expected the module under {source}; fix the import or remove the entry",
            )
        ) from error


def _forget_namesake(package: str, source: Path) -> None:
    """Drop another project's package of the same name, if this process imported it before."""
    if not ((source / package).is_dir() or (source / f"{package}.py").is_file()):
        return
    loaded = sys.modules.get(package)
    if loaded is None or Path(str(loaded.__file__)).resolve().is_relative_to(source):
        return
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
