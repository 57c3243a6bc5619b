"""From files and words to one `Config`: layers merged, every value's origin kept, all errors at once.

kit default <- `conf/recipe.yaml` <- the chosen tier <- `conf/project.yaml` <- `key=value`.
Mappings merge, lists are replaced whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from kit.config.checks import check_across_sections
from kit.config.errors import ConfigError, Problem
from kit.config.explain import Finding, explain
from kit.config.schema import Config
from kit.config.yaml_lines import Key, load_yaml, parse_yaml

RECIPE_FILE = Path("conf/recipe.yaml")
PROJECT_FILE = Path("conf/project.yaml")
Place = TypeVar("Place")

_SHORTHANDS = ("model", "method")  # `model: X` is short for `model: {name: X}`


@dataclass(frozen=True)
class Origin:
    """Where a value was set: the layer's name, and `file:line` or the word on the command line."""

    layer: str
    where: str


@dataclass(frozen=True)
class LoadedConfig:
    """A project's resolved settings, its root folder, and the origin of every value that was set."""

    config: Config
    root: Path
    origins: dict[Key, Origin]

    def origin(self, key: Key) -> Origin:
        """Where the value at `key` came from: the layer that set it last, else the kit."""
        if key not in self.origins and key[-1] == "name" and isinstance(key[-2], int):
            key = key[:-1]  # an item given by its bare name
        return self.origins.get(key) or Origin("kit default", "kit/config/schema.py")


@dataclass(frozen=True)
class _Layer:
    name: str
    tree: dict[str, Any]
    where: dict[Key, str]


def load_config(root: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read and merge all layers of the project at `root`, and validate the result.

    Args:
        root: the project's folder, with `conf/recipe.yaml` and `conf/project.yaml`.
        overrides: `key=value` words, such as `train.learning_rate=2e-4`; values are YAML.

    Raises:
        ConfigError: with every problem of every layer, each at its file and line.
    """
    recipe, project, command_line = _read_all(
        lambda: _read_layer(root, RECIPE_FILE, "recipe"),
        lambda: _read_layer(root, PROJECT_FILE, "project"),
        lambda: _read_overrides(overrides),
    )
    if recipe is None and project is None:
        raise ConfigError(
            Problem(
                where=str(root),
                message=f"not a casekit project: neither {RECIPE_FILE} nor {PROJECT_FILE} is here",
                hint="go to the project's folder, or make one with `casekit new my-project`",
            )
        )
    given = [layer for layer in (recipe, project, command_line) if layer is not None]
    tier = _tier_layer(given)
    layers = [layer for layer in (recipe, tier, project, command_line) if layer is not None]
    tree: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for layer in layers:
        _merge(tree, layer.tree, (), layer, origins)
    return LoadedConfig(config=_validate(tree, origins), root=root, origins=origins)


def validate_tree(tree: dict[str, Any], where: dict[Key, str], layer: str = "recipe") -> Config:
    """Validate one layer on its own, such as a recipe before anybody made a project from it.

    Raises:
        ConfigError: with every problem, each at its place in `where`.
    """
    merged: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    _merge(merged, _expand(tree), (), _Layer(layer, tree, where), origins)
    return _validate(merged, origins)


def _validate(tree: dict[str, Any], origins: dict[Key, Origin]) -> Config:
    findings = check_across_sections(tree)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        named = {finding.key for finding in findings}
        findings = [found for found in explain(error) if found.key not in named] + findings
    if findings:
        raise ConfigError([_problem(finding, origins) for finding in findings])
    return config


def _read_all(*readers: Callable[[], _Layer | None]) -> list[_Layer | None]:
    """What each reader gives; the problems of all of them at once."""
    layers, problems = [], []
    for read in readers:
        try:
            layers.append(read())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return layers


def _read_layer(root: Path, file: Path, name: str) -> _Layer | None:
    if not (root / file).is_file():
        return None
    tree, lines = load_yaml(root / file)
    where = {key: f"{file.as_posix()}:{line}" for key, line in lines.items()}
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(
            Problem(where=f"{file}:1", message="expected `key: value` lines", hint="see conf/recipe.yaml")
        )
    return _Layer(name, _expand(tree), where)


def _read_overrides(words: Sequence[str]) -> _Layer | None:
    layer = _Layer("command line", {}, {})
    problems = []
    for word in words:
        dotted, equals, text = word.partition("=")
        if not equals or not dotted:
            problems.append(
                Problem(f"command line: {word}", "expected key=value", "for example train.learning_rate=2e-4")
            )
            continue
        key = tuple(dotted.split("."))
        value, inside = parse_yaml(text, f"command line: {word}")
        if dotted in _SHORTHANDS and isinstance(value, str):
            key = (dotted, "name")
        branch = layer.tree
        for part in key[:-1]:
            if not isinstance(branch.get(part), dict):
                branch[part] = {}
            branch = branch[part]
        branch[key[-1]] = value
        named = [key[:depth] for depth in range(1, len(key))] + [(*key, *inner) for inner in inside]
        layer.where.update(dict.fromkeys(named, f"command line: {word}"))
    if problems:
        raise ConfigError(problems)
    return layer if words else None


def _tier_layer(layers: list[_Layer]) -> _Layer | None:
    """The settings of the tier that the last layer chose, as a layer of their own."""
    chooser = next((layer for layer in reversed(layers) if layer.tree.get("tier") is not None), None)
    if chooser is None:
        return None
    chosen = str(chooser.tree["tier"])
    owners = {
        name: layer
        for layer in layers
        if isinstance(layer.tree.get("tiers"), dict)
        for name in layer.tree["tiers"]
    }
    owner = owners.get(chosen)
    if owner is None:
        return None  # validation says which tiers there are
    tier = owner.tree["tiers"][chosen]
    settings = tier.get("settings") if isinstance(tier, dict) else None
    if not isinstance(settings, dict):
        return None  # nothing to lay over, or not a mapping: validation of `tiers` says what is wrong
    prefix: Key = ("tiers", chosen, "settings")
    where = {key[len(prefix) :]: place for key, place in owner.where.items() if key[: len(prefix)] == prefix}
    return _Layer(f"tier {chosen}", _expand(settings), where)


def _expand(tree: dict[str, Any]) -> dict[str, Any]:
    """Spell out `model: X`, so that a later `model.dtype=…` merges instead of replacing it."""
    return {
        key: {"name": value} if key in _SHORTHANDS and isinstance(value, str) else value
        for key, value in tree.items()
    }


def _merge(
    into: dict[str, Any], tree: dict[str, Any], path: Key, layer: _Layer, origins: dict[Key, Origin]
) -> None:
    for name, value in tree.items():
        key = (*path, name)
        origins[key] = Origin(layer.name, _nearest(layer.where, key) or layer.name)
        if isinstance(value, dict):
            if not isinstance(into.get(name), dict):
                into[name] = {}
            _merge(into[name], value, key, layer, origins)
            continue
        into[name] = value
        for old in [old for old in origins if old[: len(key)] == key and old != key]:
            del origins[old]
        for inner, place in layer.where.items():
            if inner[: len(key)] == key and inner != key:
                origins[inner] = Origin(layer.name, place)


def _nearest(places: Mapping[Key, Place], key: Key) -> Place | None:
    while key:
        if key in places:
            return places[key]
        key = key[:-1]
    return None


def _problem(finding: Finding, origins: dict[Key, Origin]) -> Problem:
    origin = _nearest(origins, finding.key)
    return Problem(where=origin.where if origin else "", message=finding.message, hint=finding.hint)
