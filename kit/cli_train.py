"""Commands around a run: `watch` follows one, `tune` makes many."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli_words import HERE, Overrides, Root, console, errors, say, warn


def say_end(run: Path) -> None:
    """Say how a run ended, and which of its checkpoints is golden."""
    from kit.train.runs import load_manifest

    manifest = load_manifest(run)
    early = manifest["stopped_early"]
    text = f"{'stopped early at' if early else 'ended with'} step {manifest['steps']:,}"
    if early:
        text += ", for no validation since was better than the best"
    if golden := manifest["golden"]:
        text += f"; golden is step {golden['step']:,}"
        if golden["score"] is not None:
            text += f", {golden['metric']}, score {golden['score'] + 0.0:.4f} (higher is better)"
    errors.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def say_which_run(project: Path, named: str | None) -> None:
    """Where no run is named: say which one is taken, and what that leaves aside.

    Raises:
        ConfigError: there is none that is finished.
    """
    from kit.train.runs import latest_run, load_manifest, unfinished_since

    if named is not None:
        return
    run = latest_run(project)
    errors.print(f"run {run.name}, the newest that is finished", style="dim", markup=False, highlight=False)
    chain = load_manifest(run).get("chain")
    if unfinished := unfinished_since(project, run):
        newest = unfinished[-1]
        status = load_manifest(newest)["status"].replace("running", "running, or was killed")
        warn(f"{newest.name} began later and is {status}: `casekit train --resume` goes on with it")
    elif chain and chain["number"] < len(chain["stages"]):
        following = chain["stages"][chain["number"]]
        warn(f"{following}, the stage after it, has not begun: `casekit train --resume` goes on with it")


def watch(
    run: Annotated[str | None, typer.Argument(help="Which run; the newest one if not given.")] = None,
    project: Root = HERE,
) -> None:
    """Follow a run: its curves, its speed, what was found; Ctrl-C ends the watching, not the run.

    Where there is no terminal (a pipe, a log) it says once how the run stands, and ends.
    """
    from kit.terminal_run import follow
    from kit.train.runs import find_run, newest_run

    follow(find_run(project, run) if run else newest_run(project), console)


def tune(overrides: Overrides = None, project: Root = HERE) -> None:
    """Search for learning rate, rank and batch, as `tune` in the settings says; called again, it goes on."""
    import json

    from kit import pipeline
    from kit.config import load_config
    from kit.early import check_early

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    folder = pipeline.tune(check_early(load_config(project, overrides or []), prepared=True), tell)
    best = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))["best"]
    if best:
        tell(f"best: {' '.join(best['words'])}")
    say("search", folder / "tuning.html")
