"""`casekit watch`: a run followed from another terminal."""

from typing import Annotated

import typer

from kit.cli_words import HERE, Root, console


def watch(
    run: Annotated[str | None, typer.Argument(help="Which run; the newest one if not given.")] = None,
    project: Root = HERE,
) -> None:
    """Follow a run: its curves, its speed, what was found; Ctrl-C ends the watching, not the run."""
    from kit.terminal_run import follow
    from kit.train.runs import find_run, newest_run

    follow(find_run(project, run) if run else newest_run(project), console)
