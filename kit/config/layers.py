"""From files and words to one `Config`: layers merged, every value's origin kept, all errors at once.

kit default <- `conf/recipe.yaml` <- the chosen tier <- `conf/project.yaml` <- `key=value`.
Mappings merge, lists are replaced whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kit.config.errors import ConfigError, Problem
from kit.config.explain import Finding, dotted, explain
from kit.config.gates import Gate
from kit.config.schema import Config
from kit.config.stages import check_with_stages, origins_of_stage, stage_configs
from kit.config.tree import mapping_at
from kit.config.words import pieces, taken_apart
from kit.config.yaml_lines import Document, Key, parse_document, read_document

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
    """A project's resolved settings, its root folder, and the origin of every value that was set.

    `recipe_gates` are those of the recipe and the chosen tier, which the project may have replaced.
    """

    config: Config
    root: Path
    origins: dict[Key, Origin]
    recipe_gates: list[Gate] = field(default_factory=list)
    overrides: tuple[str, ...] = ()
    """The words of the command line, as they were given."""

    def origin(self, key: Key) -> Origin:
        """Where the value at `key` came from: the layer that set it last, else the kit."""
        if key not in self.origins and key[-1] in ("name", "metric") and isinstance(key[-2], int):
            key = key[:-1]  # an item given by its bare name
        return self.origins.get(key) or Origin("kit default", "kit/config/schema.py")

    def of_stage(self, number: int) -> "LoadedConfig":
        """The settings of one stage, counted from 0, as if it were the only one."""
        if not self.config.train.stages:
            return self
        config = stage_configs(self.config)[number]
        return replace(self, config=config, origins=origins_of_stage(self.origins, number))


@dataclass(frozen=True)
class _Layer:
    name: str
    tree: dict[str, Any]
    where: dict[Key, str]
    whole: bool = True
    """Nothing had to be left out because it could not be read."""


def load_config(root: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read and merge all layers of the project at `root`, and validate the result.

    Args:
        root: the project's folder, with `conf/recipe.yaml` and `conf/project.yaml`.
        overrides: `key=value` words, such as `train.learning_rate=2e-4`; values are YAML.

    Raises:
        ConfigError: with every problem of every layer, each at its file and line.
    """
    problems: list[Problem] = []
    recipe = _read_layer(root, RECIPE_FILE, "recipe", problems)
    project = _read_layer(root, PROJECT_FILE, "project", problems)
    if recipe is None and project is None:
        raise ConfigError(
            Problem(
                where=str(root),
                message=f"not a casekit project: neither {RECIPE_FILE} nor {PROJECT_FILE} is here",
                hint="go to the project's folder, or make one with `casekit new my-project`",
            )
        )
    command_line = _read_overrides(overrides, problems)
    layers = [layer for layer in (recipe, project, command_line) if layer is not None]
    config, origins = _resolve(layers, problems)
    gates = _recipe_gates(layers, config.tier)
    return LoadedConfig(config, root, origins, gates, tuple(overrides))


def _recipe_gates(layers: list[_Layer], tier: str | None) -> list[Gate]:
    """The gates of the recipe and the tier, before the project.

    Raises:
        ConfigError: the recipe's own are wrong, though the project replaces them.
    """
    recipe = [layer for layer in layers if layer.name == "recipe"]
    tree, origins = _merged(_with_tier(recipe, tier) if tier else recipe)
    try:
        return TypeAdapter(list[Gate]).validate_python(tree.get("gates") or [])
    except ValidationError as error:
        details = error.errors()[0]
        origin = _nearest(origins, ("gates", *details["loc"]))
        message = f"a gate of the recipe that the project replaces: {details['msg']}"
        where = origin.where if origin else str(RECIPE_FILE)
        raise ConfigError(Problem(where, message, "restore the file with `casekit update`")) from error


def validate_tree(tree: dict[str, Any], where: dict[Key, str]) -> Config:
    """Validate a recipe on its own, before anybody made a project from it.

    Raises:
        ConfigError: with every problem, each at its place in `where`.
    """
    return _resolve([_Layer("recipe", _expand(tree), where)], [])[0]


def _resolve(layers: list[_Layer], problems: list[Problem]) -> tuple[Config, dict[Key, Origin]]:
    """The layers as one configuration; `problems` are those met when reading them.

    Raises:
        ConfigError: with those problems and every other.
    """
    tree, _ = _merged(layers)
    chosen = tree.get("tier")
    resolved = _with_tier(layers, chosen) if isinstance(chosen, str) else layers
    _, origins = _merged(resolved)
    config, findings = _validate(resolved)
    found = [*problems, *(_problem(finding, origins) for finding in findings)]
    for name in mapping_at(tree, "tiers"):
        if name != chosen:
            found += _tier_problems(layers, name)
    if config is None or found:
        raise ConfigError(found)
    return config, origins


def _validate(layers: list[_Layer]) -> tuple[Config | None, list[Finding]]:
    """The configuration, or what is wrong with it: as far as can be told, where a layer is not whole."""
    tree, _ = _merged(layers)
    config, findings = None, []
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        findings = explain(error)
    across = check_with_stages(tree, [finding.key for finding in findings])
    if not all(layer.whole for layer in layers):
        findings = [finding for finding in findings if not finding.needs_rest]
        across = [finding for finding in across if not finding.needs_rest]
    named = {finding.key for finding in across}
    return config, [finding for finding in findings if finding.key not in named] + across


def _read_layer(root: Path, file: Path, name: str, problems: list[Problem]) -> _Layer | None:
    """A file as a layer, its problems added to `problems`; None where there is no such file."""
    path, place = root / file, file.as_posix()
    if not path.exists() and not path.is_symlink():
        return None
    document = read_document(path, place)
    if not isinstance(document.value, dict | None):
        document = Document(
            problems=[Problem(f"{place}:1", "expected `key: value` lines", "see conf/recipe.yaml")],
            whole=False,
        )
    problems += document.problems
    where = {key: f"{place}:{line}" for key, line in document.lines.items()}
    return _Layer(name, _expand(document.value or {}), where, document.whole)


def _read_overrides(words: Sequence[str], problems: list[Problem]) -> _Layer | None:
    """The words of the command line as a layer; those that are no settings are added to `problems`."""
    tree: dict[str, Any] = {}
    where: dict[Key, str] = {}
    whole = True
    for parts in pieces(words):
        if len(parts) > 1:
            problems.append(taken_apart(parts))
            whole = False
            continue
        word = parts[0]
        dotted, equals, text = word.partition("=")
        # What was meant to name a variable may be the key itself.
        place = f"command line: {dotted}=…" if "api_key" in dotted else f"command line: {word}"
        if not equals or not dotted:
            problems.append(Problem(place, "expected key=value", "for example train.learning_rate=2e-4"))
            continue
        document = parse_document(text, place)
        problems += [replace(problem, where=place) for problem in document.problems]
        if not document.whole:
            whole = False
            continue
        key = tuple(dotted.split("."))
        if dotted in _SHORTHANDS and isinstance(document.value, str):
            key = (dotted, "name")
        branch = tree
        for part in key[:-1]:
            if not isinstance(branch.get(part), dict):
                branch[part] = {}
            branch = branch[part]
        branch[key[-1]] = document.value
        named = [key[:depth] for depth in range(1, len(key))]
        where.update(dict.fromkeys([*named, *((*key, *inner) for inner in document.lines)], place))
    return _Layer("command line", tree, where, whole) if words else None


def _with_tier(layers: list[_Layer], name: str) -> list[_Layer]:
    """The layers with a tier's settings laid over the recipe and under the project."""
    tree, origins = _merged(layers)
    tier = mapping_at(tree, "tiers").get(name)
    settings = tier.get("settings") if isinstance(tier, dict) else None
    if not isinstance(settings, dict):
        return layers  # nothing to lay over, or validation of `tier` and `tiers` says what is wrong
    prefix: Key = ("tiers", name, "settings")
    inside = [(key[len(prefix) :], origin.where) for key, origin in origins.items() if key[:3] == prefix]
    recipe = [layer for layer in layers if layer.name == "recipe"]
    above = [layer for layer in layers if layer.name != "recipe"]
    return [*recipe, _Layer(f"tier {name}", _expand(settings), dict(inside)), *above]


def _tier_problems(layers: list[_Layer], name: str) -> Iterator[Problem]:
    """What the settings of a tier that is not chosen would make wrong if it were.

    They are laid over the layers up to the one that speaks of the tier: a value of the project that
    the recipe's other tiers cannot bear stops nobody who does not choose them.
    """
    last = max(index for index, layer in enumerate(layers) if name in mapping_at(layer.tree, "tiers"))
    own = layers[: last + 1]
    _, known = _validate(own)
    overlaid = _with_tier(own, name)
    _, origins = _merged(overlaid)
    _, findings = _validate(overlaid)
    said = {(finding.key, finding.message) for finding in known}
    for finding in findings:
        if (finding.key, finding.message) not in said:
            problem = _problem(finding, origins)
            yield replace(problem, message=f"tier {name}: {problem.message}")


def _expand(tree: dict[str, Any]) -> dict[str, Any]:
    """Spell out `model: X`, so that a later `model.dtype=…` merges instead of replacing it."""
    return {
        key: {"name": value} if key in _SHORTHANDS and isinstance(value, str) else value
        for key, value in tree.items()
    }


def _merged(layers: list[_Layer]) -> tuple[dict[str, Any], dict[Key, Origin]]:
    """One tree, later layers over earlier ones, and the origin of every value in it."""
    tree: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for layer in layers:
        _merge(tree, layer.tree, (), layer, origins)
    return tree, origins


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
    origin, other = _nearest(origins, finding.key), _nearest(origins, finding.beside)
    hint = finding.hint
    if origin and other and other.layer != origin.layer:
        hint = f"{hint}; `{dotted(finding.beside)}` is set at {other.where}"
    return Problem(where=origin.where if origin else "", message=finding.message, hint=hint)
