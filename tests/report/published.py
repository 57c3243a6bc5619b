"""Holds a file against its published JSON Schema, the way a reader in any language would."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from kit.report.contract import SchemaName, published


def problems(value: Any, name: SchemaName) -> list[str]:
    """Where a value breaks the published schema; empty where it keeps it."""
    schema = json.loads(published(name).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def file_problems(path: Path, name: SchemaName) -> list[str]:
    """Where a file breaks the published schema."""
    return problems(json.loads(path.read_text(encoding="utf-8")), name)


def problems_of(kind: str, value: Any, name: SchemaName) -> list[str]:
    """Where a value breaks one of the types that a published schema defines."""
    schema = json.loads(published(name).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
