"""YAML with line numbers and the YAML 1.2 core types.

PyYAML reads YAML 1.1, where `2e-4` is a string, `no` (Norwegian) is false and `1_000` is a number;
it also lets a key be given twice. Here `2e-4` is a number, only `true` and `false` are booleans, a
repeated key is an error, and every value knows its line.

Source: https://yaml.org/spec/1.2.2/#1032-tag-resolution
"""

import re
from pathlib import Path
from typing import Any

import yaml

from kit.config.errors import ConfigError, Problem

Key = tuple[str | int, ...]
Lines = dict[Key, int]

_CORE_TYPES = (
    ("merge", r"<<", ["<"]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
)


class _CoreLoader(yaml.SafeLoader):
    """A SafeLoader that resolves plain scalars as YAML 1.2 does."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # as the base class declares it


for _name, _pattern, _first in _CORE_TYPES:
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def parse_yaml(text: str, where: str) -> tuple[Any, Lines]:
    """Parse one YAML document.

    Args:
        text: the document.
        where: how to call it in an error, usually the file's path.

    Returns:
        The value, and the 1-based line of every key and item by its path, such as
        `("train", "learning_rate")`; the document itself is `()`.

    Raises:
        ConfigError: the text is not YAML, or a key stands twice; all repeated keys at once.
    """
    loader = _CoreLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {(): 1}
        lines: Lines = {(): node.start_mark.line + 1}
        problems: list[Problem] = []
        value = _construct(loader, node, (), lines, problems, where)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            Problem(
                where=f"{where}:{line}",
                message=f"not valid YAML: {error.problem}",
                hint="check indentation, colons and quotes around this line",
            )
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(Problem(where=where, message=f"not valid YAML: {error}")) from error
    except RecursionError as error:
        raise ConfigError(
            Problem(where, "nested without end", "an alias (`*name`) stands inside what it names")
        ) from error
    finally:
        loader.dispose()
    if problems:
        raise ConfigError(problems)
    return value, lines


def load_yaml(path: Path) -> tuple[Any, Lines]:
    """Read and parse a YAML file; see `parse_yaml`.

    Raises:
        ConfigError: the file is missing, is not UTF-8 or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(Problem(where=str(path), message="no such file")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            Problem(where=str(path), message=f"not UTF-8: {error.reason}", hint="save the file as UTF-8")
        ) from error
    return parse_yaml(text, str(path))


def _construct(
    loader: _CoreLoader, node: yaml.Node, path: Key, lines: Lines, problems: list[Problem], where: str
) -> Any:
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        problems.append(
            Problem(
                f"{where}:{node.start_mark.line + 1}", f"tag {node.tag!r} is not allowed", "remove the tag"
            )
        )
        return None
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        given: set[str] = set()
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                problems.append(
                    Problem(f"{where}:{line}", "a list or mapping is no key", "write the key as text")
                )
                continue
            key = str(key_node.value)
            if key in given:
                first = lines[(*path, key)]
                problems.append(
                    Problem(f"{where}:{line}", f"`{key}` is given twice", f"first on line {first}; keep one")
                )
            # A key that `<<` brings from elsewhere may be given again: that is what merging is for.
            if node.start_mark.index <= key_node.start_mark.index < node.end_mark.index:
                given.add(key)
            lines[(*path, key)] = line
            mapping[key] = _construct(loader, value_node, (*path, key), lines, problems, where)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            items.append(_construct(loader, item, (*path, index), lines, problems, where))
        return items
    return _scalar(loader, node, where)


def _scalar(loader: _CoreLoader, node: yaml.Node, where: str) -> Any:
    text = node.value.lower()
    try:
        if node.tag == "tag:yaml.org,2002:float":  # PyYAML's own float parser does not know 2e-4
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        if node.tag == "tag:yaml.org,2002:int":
            return int(text, 0 if text.startswith(("0o", "0x")) else 10)
    except ValueError as error:  # only with a tag of its own: `!!int abc`
        raise ConfigError(
            Problem(f"{where}:{node.start_mark.line + 1}", f"{node.value!r} is no number", "remove the tag")
        ) from error
    value = loader.construct_object(node, deep=True)
    if value is not None and not isinstance(value, str | bool):
        raise ConfigError(
            Problem(
                where=f"{where}:{node.start_mark.line + 1}",
                message=f"values of type {type(value).__name__} are not supported",
                hint="write it as text in quotes",
            )
        )
    return value
