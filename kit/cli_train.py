"""Commands around a run: `watch` follows one, `tune` makes many."""

from typing import Annotated

import typer

from kit.cli_words import HERE, Overrides, Root, console, say


def watch(
    run: Annotated[str | None, typer.Argument(help="Which run; the newest one if not given.")] = None,
    project: Root = HERE,
) -> None:
    """Follow a run: its curves, its speed, what was found; Ctrl-C ends the watching, not the run."""
    from kit.terminal_run import follow
    from kit.train.runs import find_run, newest_run

    follow(find_run(project, run) if run else newest_run(project), console)


def tune(overrides: Overrides = None, project: Root = HERE) -> None:
    """Search for learning rate, rank and batch, as `tune` in the settings says; called again, it goes on."""
    import json

    from kit import pipeline
    from kit.config import load_config

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    folder = pipeline.tune(load_config(project, overrides or []), tell)
    best = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))["best"]
    if best:
        tell(f"best: {' '.join(best['words'])}")
    say("search", folder / "tuning.html")
