"""Commands around a run: `watch` follows one, `tune` makes many."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kit.cli_words import HERE, NO_VALUE, Overrides, Root, console, errors, say, warn


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


def run_and_words(project: Path, named: str | None, words: Sequence[str]) -> tuple[str, list[str]]:
    """The run that `--resume` goes on with, and the words of the command line that it is to have: those it
    began with, which are said, and then the ones that are given now.

    Raises:
        ConfigError: there is no such run, or it is named where settings are.
    """
    from kit.config.errors import ConfigError, Problem
    from kit.train.chain import to_resume
    from kit.train.processes import was_launched
    from kit.train.resume import words_to_go_on

    if names := [word for word in words if "=" not in word]:
        hint = f"name a run by --run: casekit train --resume --run {names[0]}"
        raise ConfigError(Problem(f"command line: {names[0]}", "expected key=value", hint))
    run = to_resume(project, named)
    if not was_launched():
        _say_words(run.name, words_to_go_on(run, []))
    return run.name, words_to_go_on(run, words)


def _say_words(name: str, words: Sequence[str]) -> None:
    if words:
        text = f"{name} goes on with its words: {shlex.join(words)}"
        errors.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


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


def tune(
    overrides: Overrides = None,
    project: Root = HERE,
    resume: Annotated[
        bool, typer.Option("--resume", metavar=NO_VALUE, help="Go on with the search that was begun last.")
    ] = False,
) -> None:
    """Search for learning rate, rank and batch, as `tune` in the settings says; called again, it goes on.

    `--resume` needs no words: it goes on with those that the search was given last.
    """
    from kit import pipeline
    from kit.config import load_config
    from kit.early import check_early
    from kit.tune.folder import newest_search, words_to_go_on

    words = list(overrides or [])
    going_on = newest_search(project) if resume else None
    if going_on:
        _say_words(str(going_on), words_to_go_on(going_on, []))
        words = words_to_go_on(going_on, words)

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    folder = pipeline.tune(check_early(load_config(project, words), prepared=True), tell, going_on)
    best = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))["best"]
    if best:
        tell(f"best: {' '.join(best['words'])}")
    say("search", folder / "tuning.html")
