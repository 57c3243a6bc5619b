"""Prints the resolved settings with the layer of each, and the JSON Schema that editors complete from."""

import json
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from kit.config.explain import dotted
from kit.config.layers import LoadedConfig
from kit.config.schema import Config
from kit.config.yaml_lines import Key


def json_schema() -> dict[str, Any]:
    """The configuration as JSON Schema (draft 2020-12); one layer on its own is valid against it."""
    schema = Config.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "casekit project"}


def settings_table(loaded: LoadedConfig) -> Table:
    """Every setting, its value and the layer it came from; what the kit did not default stands out."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("layer", no_wrap=True)
    table.add_column("set at", overflow="fold", style="dim")
    for key, value in leaves(loaded.config.model_dump(mode="json")):
        origin = loaded.origin(key)
        default = origin.layer == "kit default"
        table.add_row(
            *map(
                Text,  # as it is: a plain `str` would be read as markup
                (
                    dotted(key),
                    json.dumps(value, ensure_ascii=False),
                    origin.layer,
                    "" if default else origin.where,
                ),
            ),
            style="dim" if default else None,
        )
    return table


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is not a mapping or a list of mappings, with its path."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*key, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*key, index))
    else:
        yield key, value
