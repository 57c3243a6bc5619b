"""YAML with line numbers and the YAML 1.2 core types.

PyYAML reads YAML 1.1, where `2e-4` is a string, `no` (Norwegian) is false and `1_000` is a number;
it also lets a key be given twice. Here `2e-4` is a number, only `true` and `false` are booleans, a
repeated key is an error, and every value knows its line.

Source: https://yaml.org/spec/1.2.2/#1032-tag-resolution
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kit.config.errors import ConfigError, Problem

Key = tuple[str | int, ...]
Lines = dict[Key, int]


@dataclass
class Document:
    """What a YAML text holds: the part that can be used, and what is wrong with the rest."""

    value: Any = None
    lines: Lines = field(default_factory=lambda: {(): 1})
    """The 1-based line of every key and item by its path, such as `("train", "learning_rate")`."""
    problems: list[Problem] = field(default_factory=list)
    whole: bool = True
    """Nothing had to be left out of `value`."""

    def leave_out(self, problem: Problem) -> Any:
        """Note a problem whose value cannot be used."""
        self.problems.append(problem)
        self.whole = False
        return _LEFT_OUT


_LEFT_OUT = object()
"""Stands for a value that cannot be used until its parent leaves it out."""

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
    """Parse one YAML document that must be without fault.

    Args:
        text: the document.
        where: how to call it in an error, usually the file's path.

    Returns:
        The value, and the 1-based line of every key and item by its path, such as
        `("train", "learning_rate")`; the document itself is `()`.

    Raises:
        ConfigError: the text is not YAML, or a key stands twice; all such problems at once.
    """
    return _faultless(parse_document(text, where))


def load_yaml(path: Path) -> tuple[Any, Lines]:
    """Read and parse a YAML file; see `parse_yaml`.

    Raises:
        ConfigError: the file is missing, is not UTF-8 or is not YAML.
    """
    return _faultless(read_document(path, str(path)))


def read_document(path: Path, where: str) -> Document:
    """Read a YAML file as far as it can be used; a file that cannot be read is one of its problems."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem = Problem(where, "no such file")
    except IsADirectoryError:
        problem = Problem(where, "is a folder", "a file of that name is wanted here; move the folder away")
    except OSError as error:
        problem = Problem(where, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problem = Problem(where, f"not UTF-8: {error.reason}", "save the file as UTF-8")
    else:
        return parse_document(text, where)
    return Document(problems=[problem], whole=False)


def parse_document(text: str, where: str) -> Document:
    """Parse one YAML document as far as it can be used.

    Of a key that stands twice the last value is kept; a value that settings have no use for is left
    out; a text that is not YAML at all leaves nothing.
    """
    document = Document()
    loader = _CoreLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return document
        document.lines = {(): node.start_mark.line + 1}
        value = _construct(loader, node, (), document, where)
        document.value = None if value is _LEFT_OUT else value
        return document
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = Problem(
            where=f"{where}:{line}",
            message=f"not valid YAML: {error.problem}",
            hint="check indentation, colons and quotes around this line",
        )
    except yaml.YAMLError as error:
        problem = Problem(where, f"not valid YAML: {error}")
    except RecursionError:
        problem = Problem(where, "nested without end", "an alias (`*name`) stands inside what it names")
    finally:
        loader.dispose()
    return Document(problems=[problem], whole=False)


def _faultless(document: Document) -> tuple[Any, Lines]:
    if document.problems:
        raise ConfigError(document.problems)
    return document.value, document.lines


def _construct(loader: _CoreLoader, node: yaml.Node, path: Key, document: Document, where: str) -> Any:
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        place = f"{where}:{node.start_mark.line + 1}"
        return document.leave_out(Problem(place, f"tag {node.tag!r} is not allowed", "remove the tag"))
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, path, document, where)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            document.lines[(*path, index)] = item.start_mark.line + 1
            items.append(_construct(loader, item, (*path, index), document, where))
        # Without one item the others would stand at numbers that are not theirs.
        return _LEFT_OUT if any(item is _LEFT_OUT for item in items) else items
    return _scalar(loader, node, document, where)


def _mapping(
    loader: _CoreLoader, node: yaml.MappingNode, path: Key, document: Document, where: str
) -> dict[str, Any]:
    loader.flatten_mapping(node)
    mapping: dict[str, Any] = {}
    given: set[str] = set()
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        place = f"{where}:{line}"
        if not isinstance(key_node, yaml.ScalarNode):
            document.leave_out(Problem(place, "a list or mapping is no key", "write the key as text"))
            continue
        key = str(key_node.value)
        if key in given:
            first = document.lines[(*path, key)]
            hint = f"first on line {first}; keep one"
            document.problems.append(Problem(place, f"`{key}` is given twice", hint))
        # A key that `<<` brings from elsewhere may be given again: that is what merging is for.
        if node.start_mark.index <= key_node.start_mark.index < node.end_mark.index:
            given.add(key)
        document.lines[(*path, key)] = line
        value = _construct(loader, value_node, (*path, key), document, where)
        if value is not _LEFT_OUT:
            mapping[key] = value
    return mapping


def _scalar(loader: _CoreLoader, node: yaml.Node, document: Document, where: str) -> Any:
    text = node.value.lower()
    place = f"{where}:{node.start_mark.line + 1}"
    try:
        if node.tag == "tag:yaml.org,2002:float":  # PyYAML's own float parser does not know 2e-4
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        if node.tag == "tag:yaml.org,2002:int":
            return int(text, 0 if text.startswith(("0o", "0x")) else 10)
    except ValueError:  # only with a tag of its own: `!!int abc`
        return document.leave_out(Problem(place, f"{node.value!r} is no number", "remove the tag"))
    value = loader.construct_object(node, deep=True)
    if value is not None and not isinstance(value, str | bool):
        kind = f"values of type {type(value).__name__} are not supported"
        return document.leave_out(Problem(place, kind, "write it as text in quotes"))
    return value
