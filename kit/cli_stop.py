"""What is said when a command was stopped, by Ctrl-C or SIGTERM: how to go on, if there is something to."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.cli_words import errors

STARTED = datetime.now(UTC).isoformat(timespec="seconds")
"""As a manifest writes it."""
_TRAINING_ALONE = {"--resume": False, "--run": True, "--processes": True}
"""Options of `train` that no other command has, and whether each takes a value."""

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
    """A run goes on with the words it began with, which it knows itself; those that were given to go on with
    it are part of the command."""
    from kit.train.resume import OF_A_MACHINE
    from kit.train.runs import list_runs, load_manifest

    found = [(run, load_manifest(run)) for run in list_runs(_project(words))]
    ours = [(_began(manifest), run.name, manifest) for run, manifest in found if _began(manifest) >= STARTED]
    if "--resume" not in words and not ours:
        return "no run had begun: the same command begins again"
    _, run_id, manifest = max(ours, key=lambda one: one[:2], default=("", "", {}))
    if manifest and _is_done(manifest):
        after = shlex.join(["casekit", "evaluate", "--run", run_id, *_without(words, _TRAINING_ALONE)])
        return f"the training is done: `{after}` goes on" + ", then `casekit report`" * (command == "run")
    its_own = [word for word in words if word.startswith(OF_A_MACHINE)]
    given = words if "--resume" in words else [*its_own, *_project_option(words)]
    again = shlex.join(["casekit", "train", "--resume", *(word for word in given if word != "--resume")])
    return f"`{again}` continues it"


def _began(manifest: dict[str, Any]) -> str:
    """When a process last took a run up, or began it."""
    return str(manifest["sessions"][-1]["started"])


def _without(words: Sequence[str], options: Mapping[str, bool]) -> list[str]:
    """The words but for these options, and the word after one that takes a value."""
    kept, values = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if not values and name not in options:
            kept.append(word)
        values = not values and not equals and options.get(name, False)
    return kept


def _is_done(manifest: dict[str, Any]) -> bool:
    """Whether a run is finished, and no stage follows it."""
    chain = manifest.get("chain") or {"stages": [], "number": 0}
    return bool(manifest["status"] == "finished" and chain["number"] >= len(chain["stages"]))


def _project_option(words: Sequence[str]) -> list[str]:
    """The option that names the project, as it was given."""
    for at, word in enumerate(words):
        if word.startswith("--project="):
            return [word]
        if word in ("--project", "-p"):
            return list(words[at : at + 2])
    return []


def _project(words: Sequence[str]) -> Path:
    named = _project_option(words)
    return Path(named[-1].removeprefix("--project=")) if named else Path()
