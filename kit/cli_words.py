"""What all commands share: how they print, and the words they take. Imports nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kit.config.errors import Problem

console = Console(emoji=False)  # line 100 of a file is `file:100:`, not a picture
errors = Console(stderr=True, emoji=False)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings for this call, such as hardware.num_threads=2."),
]
Root = Annotated[Path, typer.Option("--project", "-p", help="The project's folder.", show_default="here")]
HERE = Path()
NO_VALUE = ""  # how the help writes the value of a flag


def tell(kind: str, problem: Problem) -> None:
    """Print a problem on stderr; `kind` says what it is, in Rich's markup."""
    errors.print(f"{kind} {plain(problem.where)}", end=" " if problem.where else "", soft_wrap=True)
    errors.print(problem.message, markup=False, highlight=False, soft_wrap=True)
    if problem.hint:
        errors.print(f"      {problem.hint}", markup=False, highlight=False, style="dim", soft_wrap=True)


def plain(text: str) -> str:
    """Text that has no markup, whatever brackets stand in it."""
    return text.replace("[", "\\[")


def say(what: str, path: Path) -> None:
    """Print where a command left something."""
    console.print(f"[green]{what}[/] ", end="")
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Tell what a person should know where errors go; nothing stops."""
    from kit.report.formatting import visible

    errors.print("warning ", style="yellow", end="")
    errors.print(visible(text), markup=False, highlight=False, soft_wrap=True)
