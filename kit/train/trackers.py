"""Where curves go besides `metrics.jsonl`: each of its lines is handed on to the trackers that are set.

Two rules hold for all of them: nothing leaves this machine unless the tracker was told to send it (a login, a
server's address), and a tracker that fails ends no run. What it could not take is handed to it again later.
"""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kit.config.errors import ConfigError, Problem
from kit.config.preference import LOSSES
from kit.config.schema import Config
from kit.config.show import leaves
from kit.train.processes import is_main
from kit.train.runs import save_manifest
from kit.train.tracker_kinds import ENVIRONMENT, OPEN, Opening, Tracker

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny", "trackio": "trackio"}
"""The package that each tracker is; of MLflow the part that writes, which the whole of it brings too."""
AGAIN_AFTER = 300.0
"""Seconds until a tracker that failed is tried again."""


def check_trackers(trackers: Sequence[str]) -> None:
    """Refuse a tracker that is not installed or does not start, before anything is loaded.

    Raises:
        ConfigError: names every one of them.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    found = {tracker: why_not(tracker) for tracker in trackers}
    problems = [
        refused(f"{tracker!r} {why}", f"`pip install 'casekit[{tracker}]'`")
        for tracker, why in found.items()
        if why
    ]
    if problems:
        raise ConfigError(problems)


def refused(message: str, remedy: str) -> Problem:
    """What is wrong with a tracker, and what to do."""
    hint = f"{remedy}, or take it off the list; metrics.jsonl is always written"
    return Problem("tracking.report_to", message, hint)


def why_not(tracker: str) -> str | None:
    """What keeps a tracker from being used; None if nothing does."""
    try:
        # By its package: a folder `wandb` that it leaves in the project can be imported as well.
        found = version(PACKAGES[tracker])
    except PackageNotFoundError:
        return "is not installed"
    try:
        importlib.import_module(tracker)
    except Exception as error:  # whatever an old release meets in the newer ones around it
        return f"{found} does not start: {type(error).__name__}: {error}"
    return None


class Trackers:
    """The trackers that are open for a run, and how far each has its lines.

    Args:
        run: the run's folder.
        tell: is given a sentence, with rich's markup, when one of them fails.
    """

    def __init__(self, run: Path, tell: Callable[[str], None]) -> None:
        self.lines, self.tell = run / "metrics.jsonl", tell
        self.opened: dict[str, Tracker] = {}
        self.at: dict[str, int] = {}
        """By tracker the byte of the lines that it gets next."""
        self.again: dict[str, float] = {}
        self.told: set[str] = set()

    def begin(self) -> None:
        """Take the lines that are there as known: an earlier session of the run handed them on."""
        size = self.lines.stat().st_size if self.lines.is_file() else 0
        self.at = dict.fromkeys(self.opened, size)

    def hand_over(self, at_end: bool = False) -> None:
        """Hand every new line to every tracker, but for those that failed a short while ago."""
        for name, tracker in self.opened.items():
            if not at_end and time.monotonic() < self.again.get(name, 0.0):
                continue
            try:
                for line, after in lines_from(self.lines, self.at[name]):
                    send(tracker, line)
                    self.at[name] = after
            except Exception as error:
                self.again[name] = time.monotonic() + AGAIN_AFTER
                self.say_failed(name, error, at_end)

    def say_failed(self, name: str, error: Exception, at_end: bool = False) -> None:
        """Say what a tracker failed with: the first time, and at the end, when it is not tried again."""
        if name in self.told and not at_end:
            return
        self.told.add(name)
        then = "what it misses is in metrics.jsonl" if at_end else "the run goes on, and it is tried again"
        self.tell(f"[yellow]{name} failed:[/] {escape(brief(error))}; {then}")

    def end(self, status: str) -> None:
        """Hand over what is left, and say how the run ended: `finished`, `interrupted` or `failed`."""
        self.hand_over(at_end=True)
        for name, tracker in self.opened.items():
            try:
                tracker.end(status)
            except Exception as error:
                self.say_failed(name, error, at_end=True)


def lines_from(path: Path, at: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole lines of `metrics.jsonl` from byte `at` on, each with the byte after it."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            at += len(line)
            yield json.loads(line), at


def send(tracker: Tracker, line: Mapping[str, Any]) -> None:
    """Hand one line to one tracker: numbers as a step of its curves, what the watch found in words."""
    if line["kind"] == "event":
        tracker.find(line["step"], line["event"], f"{line['message']}; {line['advice']}")
    else:
        tracker.log(line["step"], values_of(line))


def values_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line as `train/loss`, `eval/task_score`, `train/rewards/<metric>`; no nulls."""
    flat = {"/".join(map(str, key)): value for key, value in leaves(dict(line))}
    return {
        f"{line['kind']}/{name.removeprefix('eval_')}": value
        for name, value in flat.items()
        if isinstance(value, int | float) and name != "step"
    }


@contextmanager
def tracked(run: Path, manifest: Mapping[str, Any], console: Console) -> Iterator[Trackers]:
    """The trackers that the block opens for a run; closed however it ends, and told how by the manifest.

    The block ends when the manifest is on the disk: what is left may take minutes to send, and whoever does
    not wait for it has a run that is finished all the same.
    """
    trackers = Trackers(run, lambda line: console.print(line, highlight=False))
    try:
        yield trackers
    finally:
        trackers.end(manifest["status"])


def open_trackers(
    trackers: Trackers, config: Config, root: Path, run: Path, manifest: dict[str, Any], console: Console
) -> None:
    """Open each tracker that is set, and say where its curves are; of several processes the main one does.

    Args:
        manifest: of the run; `trackers` becomes what each tracker calls it, by which a resumed run goes on
            with the same one.

    Raises:
        ConfigError: names every one that refuses a new run. A resumed one goes on without it.
    """
    names: Sequence[str] = config.tracking.report_to if is_main() else []
    told = opening(config, root, run, manifest)
    failed: dict[str, Exception] = {}
    for name in names:
        try:
            trackers.opened[name] = OPEN[name](told)
        except Exception as error:
            failed[name] = error
    trackers.begin()
    if failed and len(manifest["sessions"]) == 1:
        said = {name: f"{name!r} refuses the run: {brief(error)}" for name, error in failed.items()}
        raise ConfigError([refused(words, "set it right") for words in said.values()])
    for name, reason in failed.items():
        console.print(f"[yellow]{name} failed:[/] {escape(brief(reason))}; the run goes on without it")
    for name, tracker in trackers.opened.items():
        if tracker.said:
            console.print(f"{name}: {escape(tracker.said)}", style="dim", highlight=False, soft_wrap=True)
    if names:
        known = {name: tracker.id for name, tracker in trackers.opened.items() if tracker.id}
        manifest["trackers"] = {**manifest.get("trackers", {}), **known}
        save_manifest(run, manifest)


def opening(config: Config, root: Path, run: Path, manifest: Mapping[str, Any]) -> Opening:
    """What a tracker is told of the run."""
    facts = {"data.fingerprint": manifest["data"]["fingerprint"], "model.sha256": manifest["model"]["sha256"]}
    facts["kit_version"] = manifest["environment"]["kit_version"]
    return Opening(
        run=run,
        root=root.resolve(),
        project=config.project.name,
        settings={**settings_of(config), **facts},
        step=manifest["sessions"][-1]["from_step"],
        known=manifest.get("trackers", {}),
    )


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that shape a run, flat (`train.learning_rate`), without those that are not set or that
    say nothing for its stage. Addresses and keys of judges and servers are not among them.
    """
    stage = config.train.stage
    other = {"stages", *([] if stage in LOSSES else ["preference"]), *([] if stage == "grpo" else ["grpo"])}
    machines = {"device", "num_processes", "num_machines", "sharding"}
    shaping = dict.fromkeys(("seed", "model", "method", "train"), True) | {"hardware": machines}
    settings = config.model_dump(mode="json", include=shaping)
    settings["train"] = {name: value for name, value in settings["train"].items() if name not in other}
    flat = {".".join(map(str, key)): value for key, value in leaves(settings)}
    return {name: value for name, value in flat.items() if value not in (None, [], {})}


def brief(error: Exception) -> str:
    """An error's type and words on one line, cut to a readable length."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}{'…' if len(words) > 300 else ''}"
