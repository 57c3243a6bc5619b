"""Writes the reference page of `report.json` and `scores.json` from their schemas, field by field."""

from typing import Any, get_args

from kit.evaluate.contract import SCHEMA
from kit.report.contract import SchemaName, json_schema

_HEAD = f"""\
# `report.json` and `scores.json`, schema {SCHEMA}

Written by `make docs` from `kit/evaluate/contract*.py` and `kit/report/contract*.py`; do not edit.

Both files name their schema in the field `schema`. The number rises when a field is added, renamed or taken
away; a schema that was released is not changed. As JSON Schema (draft 2020-12): `casekit report --schema` and
`casekit evaluate --schema`, or the files in [kit/report/schemas](../../kit/report/schemas). Those of
comparisons stand there too: `comparison`, `comparison-scores` and, of several, `comparison-family`. Objects
have the fields named here and no others. Shares are from 0 to 1, times in seconds; null is what does not
exist.
"""
_FILES: dict[SchemaName, str] = {
    "report": "`reports/<id>/report.json`",
    "scores": "`evaluations/<id>/scores.json`",
    "comparison": "`<out>/report.json` of `casekit compare`",
    "comparison-scores": "`<out>/scores.json` of `casekit compare`",
    "comparison-family": "`<out>/report.json` of `casekit compare` with several systems",
}


def markdown_page() -> str:
    """The page: both files, then every object in them, in alphabetical order."""
    schemas = {name: json_schema(name) for name in get_args(SchemaName)}
    parts = [_HEAD]
    for name, title in _FILES.items():
        parts.append(_object(title, schemas[name]))
    inner: dict[str, Any] = {}
    for schema in schemas.values():
        inner |= schema["$defs"]
    parts += [_object(name, part) for name, part in sorted(inner.items()) if "properties" in part]
    return "\n".join(parts)


def _object(title: str, part: dict[str, Any]) -> str:
    lines = [f"## {title}", "", part.get("description", ""), "", "| field | type | means |", "|---|---|---|"]
    for name, field in part["properties"].items():
        needed = "" if name in part.get("required", []) else " (may be missing)"
        means = " ".join(field.get("description", "").split())
        lines.append(f"| `{name}` | {_type(field)}{needed} | {means.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, ""])


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"])
    if "const" in field or "enum" in field:
        choices = field.get("enum", [field.get("const")])
        return ", ".join(f"`{choice}`" for choice in choices)
    if "prefixItems" in field:
        return f"{len(field['prefixItems'])} of {_type(field['prefixItems'][0])}"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"mapping to {_type(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true, false"}
    return words.get(field.get("type", ""), "null" if field.get("type") == "null" else "anything")


if __name__ == "__main__":
    print(markdown_page(), end="")
