"""What is said when a command was stopped, by Ctrl-C or SIGTERM: how to go on, if there is something to."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.cli_words import errors

STARTED = datetime.now(UTC)

_GO_ON = {
    "evaluate": "the same command goes on: answers that were given are kept",
    "answer": "the same command goes on: answers that were given are kept",
    "tune": "the same command goes on with the search",
    "chat": "",
    "review": "",
    "watch": "",
}
"""What the other commands but those that train say; where one is not named, it begins again."""


def say_how_to_go_on(what: str, words: Sequence[str]) -> None:
    """Print it.

    Args:
        what: how the command ended.
        words: of the command line, after `casekit`.
    """
    from kit.train.processes import was_launched

    if was_launched():  # the process that launched it says so, once for all
        return
    command = words[0] if words else ""
    then = _of_training(command, words[1:]) if command in ("train", "run") else _GO_ON.get(command)
    if then is None:
        then = "the same command begins again"
    errors.print(f"{what}; {then}" if then else what, style="yellow", markup=False, soft_wrap=True)


def _of_training(command: str, words: Sequence[str]) -> str:
    """A run goes on only with the settings it began with, so they are part of the command."""
    from kit.train.runs import list_runs, load_manifest

    began = [run for run in list_runs(_project(words)) if run.name >= f"{STARTED:%Y%m%d-%H%M%S}"]
    if "--resume" not in words and not began:
        return "no run had begun: the same command begins again"
    if began and _is_done(load_manifest(began[-1])):
        after = shlex.join(["casekit", "evaluate", "--run", began[-1].name, *words])
        return f"the training is done: `{after}` goes on" + ", then `casekit report`" * (command == "run")
    again = shlex.join(["casekit", "train", "--resume", *(word for word in words if word != "--resume")])
    return f"`{again}` continues it"


def _is_done(manifest: dict[str, Any]) -> bool:
    """Whether a run is finished, and no stage follows it."""
    chain = manifest.get("chain") or {"stages": [], "number": 0}
    return bool(manifest["status"] == "finished" and chain["number"] >= len(chain["stages"]))


def _project(words: Sequence[str]) -> Path:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--project=") or word in ("--project", "-p"):
            return Path(word.partition("=")[2] or following)
    return Path()
