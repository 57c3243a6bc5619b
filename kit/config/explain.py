"""Turns pydantic's errors into sentences for the person who must fix them."""

import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kit.config.schema import Config, Section
from kit.config.yaml_lines import Key


@dataclass(frozen=True)
class Finding:
    """A problem at a key; the loader adds the file and line that set it."""

    key: Key
    message: str
    hint: str = ""


def explain(error: ValidationError) -> list[Finding]:
    """One finding for each of pydantic's errors, in the order of the schema."""
    return [_finding(details) for details in error.errors(include_url=False)]


def unknown_choice(key: Key, what: str, found: str, allowed: Iterable[str]) -> Finding:
    """A value that is not among the allowed ones, with the nearest of them."""
    choices = list(allowed)
    hint = f"allowed: {', '.join(choices)}" if choices else "none are defined"
    near = nearest(found, choices)
    if near:
        hint = f"did you mean `{near}`? {hint}"
    return Finding(key, f"`{dotted(key)}`: unknown {what} {found!r}", hint)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like `word`, or None where none is near."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def dotted(key: Key) -> str:
    """`("gates", 0, "metric")` as `gates[0].metric`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _finding(details: ErrorDetails) -> Finding:
    key = tuple(details["loc"])
    found = details["input"]
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(key)
        case "missing":
            return Finding(key[:-1], f"`{dotted(key)}` is missing", "it has no default; set it")
        case "literal_error":
            return unknown_choice(key, "value", str(found), _choices(key))
        case "value_error":
            return Finding(key, f"`{dotted(key)}`: {context['error']}" if key else str(context["error"]))
        case _:
            expected = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            return Finding(key, f"`{dotted(key)}`: found {_show(found)}, expected {expected}", _help(key))


def _unknown_key(key: Key) -> Finding:
    *parent, name = key
    fields = _fields(tuple(parent))
    near = nearest(str(name), fields)
    place = f"in `{dotted(tuple(parent))}`" if parent else "at the top level"
    known = f"known {place}: {', '.join(sorted(fields))}"
    hint = f"did you mean `{near}`? {known}" if near else known
    return Finding(key, f"unknown key `{dotted(key)}`", hint)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields(key: Key) -> list[str]:
    model = _model_at(key)
    return list(model.model_fields) if model else []


def _help(key: Key) -> str:
    """The setting's own description from the schema."""
    model = _model_at(key[:-1])
    field = model.model_fields.get(str(key[-1])) if model and key else None
    return field.description.split("\n")[0] if field and field.description else ""


def _choices(key: Key) -> list[str]:
    model = _model_at(key[:-1])
    field = model.model_fields.get(str(key[-1])) if model and key else None
    annotation = field.annotation if field else None
    if annotation is None and len(key) > 1:  # a literal inside a list or a mapping's key
        return _choices(key[:-1])
    return [str(choice) for kind in _leaves(annotation) for choice in _literals(kind)]


def _literals(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


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


def _model_at(key: Key) -> type[Section] | None:
    """The schema's section at a path; list positions and mapping keys are stepped over."""
    model: type[Section] | None = Config
    for part in key:
        field = model.model_fields.get(str(part)) if model else None
        if field is None:
            continue
        sections = sections_in(field.annotation)
        model = sections[0] if sections else None
    return model


def sections_in(annotation: Any) -> list[type[Section]]:
    """The configuration sections inside a type, looking through unions, lists and mappings."""
    return [leaf for leaf in _leaves(annotation) if isinstance(leaf, type) and issubclass(leaf, Section)]
