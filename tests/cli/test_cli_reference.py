"""The page of the command line has a row for every command, with its options and no others."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from kit.cli import app

PAGE = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text(encoding="utf-8")
SAID_ONCE = {"--help", "--project"}
"""What the page says of all commands together."""


def commands(group: Any, before: str = "casekit") -> Iterator[tuple[str, list[list[str]]]]:
    """Every command with its options, each by all its names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", [one.opts for one in command.params if one.param_type_name == "option"]


def rows() -> dict[str, str]:
    """The rows of the table, by the command and what follows it."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| `casekit ")]
    return {line.split("`")[1]: line for line in lines}


def test_every_command_has_a_row_with_its_options_and_no_others() -> None:
    found = dict(commands(typer.main.get_command(app)))
    row_of = {
        name: [row for written, row in rows().items() if f"{written} ".startswith(f"{name} ")]
        for name in found
    }
    assert len(found) > 15 and sum(map(len, found.values())) > 40
    assert {name: len(of_it) for name, of_it in row_of.items()} == dict.fromkeys(found, 1)
    assert len(rows()) == len(found), "a row is of no command"
    for name, options in found.items():
        written = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row_of[name][0]))
        missing = [names for names in options if not written & set(names) and not SAID_ONCE & set(names)]
        assert missing == [], name
        assert written <= {one for names in options for one in names}, name
    assert all(f"`{option}" in PAGE or f"{option}`" in PAGE for option in SAID_ONCE)
