"""Writes the configuration's reference page from the schema, so that the two cannot disagree.

`make docs` runs this module; a test compares the page with it.
"""

import inspect
import json
import typing
from typing import Any

from pydantic.fields import FieldInfo

from kit.config.explain import sections_in
from kit.config.schema import Config
from kit.config.section import Section

_HEAD = """\
# Configuration

Written by `make docs` from `kit/config/`; do not edit.

Settings come in layers, later ones win: kit default (below) <- `conf/recipe.yaml` <- the chosen tier of
that recipe <- `conf/project.yaml` <- `key=value` on the command line. Mappings merge, lists are replaced
whole, and a key that is not on this page is an error. `casekit config` prints what holds and which layer
said so.

Values are taken as they are written: numbers may be written `2e-4`, only `true` and `false` are booleans,
and `"8"` is a text, not a number. Every problem of every layer is reported at once, with its file and line;
the settings of all tiers are checked, whichever is chosen.
"""


def markdown_reference() -> str:
    """The reference page: a table for every section, in the order of the schema."""
    return "\n".join([_HEAD, *_section("", Config)])


def _section(prefix: str, section: type[Section]) -> list[str]:
    title = f"`{prefix}`" if prefix else "Top level"
    lines = [f"## {title}", "", inspect.cleandoc(section.__doc__ or ""), ""]
    lines += ["| key | type | default | means |", "|---|---|---|---|"]
    deeper: list[str] = []
    for name, field in section.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        lines.append(f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_text(field)} |")
        for inner in sections_in(field.annotation):
            many = typing.get_origin(field.annotation) in (list, dict)
            deeper += _section(f"{path}[]" if many else path, inner)
    return [*lines, "", *deeper]


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    inner = typing.get_args(annotation)
    if origin is typing.Literal:
        return " \\| ".join(f"`{choice}`" for choice in inner)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"mapping to {_type(inner[1])}"
    if origin is tuple:
        return f"{len(inner)} of {_type(inner[0])}"
    if inner:
        return " or ".join(_type(part) for part in inner)
    if annotation is type(None):
        return "null"
    return {
        "str": "text",
        "Any": "anything",
        "float": "number",
        "int": "whole number",
        "bool": "true, false",
    }.get(annotation.__name__, "section")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    default = field.default
    if isinstance(default, Section):
        return ""
    return f"`{json.dumps(default)}`"


def _text(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if hasattr(limit, name)
    ]
    sections = sections_in(field.annotation)
    described = field.description or (sections[0].__doc__ if sections else "") or ""
    words = " ".join(described.split()).replace("|", "\\|")
    return f"{words} ({', '.join(bounds)})".strip() if bounds else words


if __name__ == "__main__":
    print(markdown_reference(), end="")
