"""Turns pydantic's errors into sentences for the person who must fix them.

What was expected is told from the schema's own types, in plain words: pydantic speaks to programmers.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kit.config.schema import Config, HarnessTask, MetricUse, Model
from kit.config.schema_grpo import RewardUse
from kit.config.schema_judge import Rubric
from kit.config.schema_train import MethodConfig, StageUse
from kit.config.section import Section
from kit.config.yaml_lines import Key

_SHOWN = 60  # characters of a found value
_NAMED = (
    Model,
    MethodConfig,
    MetricUse,
    HarnessTask,
    RewardUse,
    Rubric,
    StageUse,
)  # sections that a bare name is short for
_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false", Any: "anything"}
_MANY = {str: "texts", float: "numbers", int: "whole numbers"}


@dataclass(frozen=True)
class Finding:
    """A problem at a key; the loader adds the file and line that set it."""

    key: Key
    message: str
    hint: str = ""
    needs_rest: bool = False
    """Whether a setting elsewhere could put it right: not to be said where a layer cannot be read."""
    beside: Key = ()
    """A setting that it does not agree with; the loader says where that stands, if another layer set it."""


def explain(error: ValidationError) -> list[Finding]:
    """One finding for each value that is wrong, in the order of the schema."""
    found: dict[tuple[Key, str], Finding] = {}
    for details in error.errors(include_url=False):
        finding = _finding(details)
        # Each member of a union complains for itself; together they are one finding.
        message = "" if _is_union(_type_at(finding.key)) else finding.message
        found.setdefault((finding.key, message), finding)
    return list(found.values())


def unknown_choice(key: Key, what: str, found: str, allowed: Iterable[str]) -> Finding:
    """A value that is not among the names that other settings define, with the nearest of them."""
    hint = suggest(found, allowed)
    return Finding(key, f"`{dotted(key)}`: unknown {what} {found!r}", hint, needs_rest=True)


def suggest(word: str, choices: Iterable[str], listed: str = "allowed") -> str:
    """The hint for a word that is none of the choices: the nearest of them, then all."""
    names = list(choices)
    if not names:
        return "none are defined"
    near = nearest(word, names)
    return f"{f'did you mean `{near}`? ' if near else ''}{listed}: {', '.join(names)}"


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like `word`, or None where none is near."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def shorten(value: Any) -> str:
    """A value as an error shows it: its `repr`, 60 characters of it at most."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def dotted(key: Key) -> str:
    """`("gates", 0, "metric")` as `gates[0].metric`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _finding(details: ErrorDetails) -> Finding:
    key, found = _place(details["loc"]), details["input"]
    needs_rest = not any(isinstance(part, int) for part in key)  # lists are replaced whole
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(key)
        case "missing" if typing.get_origin(_type_at(key[:-1])) is not tuple:
            message = f"`{dotted(key)}` is missing"
            return Finding(key[:-1], message, "it has no default; set it", needs_rest)
        case "literal_error" if details["loc"][-1] == "[key]":
            return Finding(key, f"unknown key `{dotted(key)}`", suggest(str(found), _key_choices(key[:-1])))
        case "literal_error" if not _is_union(_type_at(key)):
            message = f"`{dotted(key)}`: unknown value {_show(found)}"
            return Finding(key, message, suggest(str(found), _choices(_type_at(key))))
        case "value_error":
            reason = str(details["ctx"]["error"])
            return Finding(key, f"`{dotted(key)}`: {reason}" if key else reason, "", needs_rest)
        case "missing":  # one of the two numbers of a pair
            key = key[:-1]
    kind = _type_at(key)
    message = f"`{dotted(key)}`: found {_show(found)}, expected {_expected(kind, details)}"
    return Finding(key, message, _advice(found, kind) or _help(key))


def _unknown_key(key: Key) -> Finding:
    *parent, name = key
    section = _type_at(tuple(parent))
    fields = sorted(section.model_fields) if _is_section(section) else []
    place = f"in `{dotted(tuple(parent))}`" if parent else "at the top level"
    return Finding(key, f"unknown key `{dotted(key)}`", suggest(str(name), fields, f"known {place}"))


def _show(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return shorten(value)


def _expected(kind: Any, details: ErrorDetails) -> str:
    """The type in words, with the bound that was missed: `a whole number greater than 0`."""
    if details["type"] == "finite_number":
        return "a finite number"
    bound = re.match(r"Input should be ((greater|less) than .*)", details["msg"])
    return _words(kind, f" {bound[1]}" if bound else "")


def _words(kind: Any, bound: str = "") -> str:
    """A type in words; of a union the numbers have the bound."""
    members = typing.get_args(kind)
    match typing.get_origin(kind):
        case _ if _is_section(kind):
            return f"{'a name, or ' if kind in _NAMED else ''}`key: value` lines"
        case _ if _is_union(kind):
            return " or ".join(
                _words(_bare(member), bound) for member in members if member is not types.NoneType
            )
        case origin if origin is list:
            return "a list" if _is_section(_bare(members[0])) else f"a list of {_many(members[0])}"
        case origin if origin is tuple:
            return f"a list of {len(members)} {_many(members[0])}"
        case origin if origin is dict:
            return "`key: value` lines"
        case origin if origin is Literal:
            return f"one of {', '.join(map(str, members))}" if len(members) > 1 else f"`{members[0]}`"
    return _WORDS.get(kind, str(kind)) + bound


def _many(kind: Any) -> str:
    return _MANY.get(_bare(kind)) or ", ".join(_choices(kind))


def _advice(found: Any, kind: Any) -> str:
    """What to write instead, where the value shows what was meant."""
    if found is None:
        return "fill it in, or remove the line"
    if typing.get_origin(kind) is list and isinstance(found, str):
        near = nearest(found, _choices(kind))
        return f"write it in brackets: [{near or found}]"
    if kind is str and isinstance(found, bool | int | float):
        return "put it in quotes"
    if kind in (int, float) and isinstance(found, str):
        digits = found.replace("_", "")
        number = re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", digits)
        return f"write it without {'quotes' if digits == found else '`_`'}: {digits}" if number else ""
    if kind is int and isinstance(found, float) and found.is_integer():
        return f"write it in digits: {int(found)}"
    return ""


def _help(key: Key) -> str:
    """The setting's own description from the schema."""
    section = _type_at(key[:-1])
    field = section.model_fields.get(str(key[-1])) if key and _is_section(section) else None
    return " ".join(field.description.split()) if field and field.description else ""


def _place(loc: Key) -> Key:
    """The key of a value in the settings: pydantic's own marks for keys and union members are cut off."""
    key: Key = ()
    for part in loc:
        if part == "[key]" or _is_union(_type_at(key)):
            break
        key = (*key, part)
    return key


def _type_at(key: Key) -> Any:
    """The type that the schema wants at a path, without `Annotated` and `| None`; None if there is none."""
    kind: Any = Config
    for part in key:
        members = typing.get_args(kind)
        if _is_section(kind):
            field = kind.model_fields.get(str(part))
            kind = _bare(field.annotation) if field else None
        elif typing.get_origin(kind) in (list, tuple):
            kind = _bare(members[0])
        elif typing.get_origin(kind) is dict:
            kind = _bare(members[1])
        else:
            return None
    return kind


def _bare(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Annotated:
        return _bare(typing.get_args(kind)[0])
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    return _bare(members[0]) if _is_union(kind) and len(members) == 1 else kind


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _choices(kind: Any) -> list[str]:
    """The values of every literal inside a type."""
    leaves = _leaves(kind)
    return [str(choice) for leaf in leaves if typing.get_origin(leaf) is Literal for choice in leaf.__args__]


def _key_choices(key: Key) -> list[str]:
    """The keys that a mapping may have."""
    return _choices(typing.get_args(_type_at(key))[0])


def _leaves(annotation: Any) -> list[Any]:
    """The types inside unions, lists, mappings and annotations."""
    origin = typing.get_origin(annotation)
    if origin in (None, Literal):
        return [annotation]
    inner = typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = inner[:1]
    wrapper = origin in (typing.Union, types.UnionType, list, dict, tuple, typing.Annotated)
    return [leaf for part in inner for leaf in _leaves(part)] if wrapper else [annotation]


def sections_in(annotation: Any) -> list[type[Section]]:
    """The configuration sections inside a type, looking through unions, lists and mappings."""
    return [leaf for leaf in _leaves(annotation) if _is_section(leaf)]
