"""A run's folder: its id, and the rules for finding and continuing one."""

import difflib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.schema import Config
from kit.files import write_json, write_text

# Settings that change what a run computes; gates, trackers and the machine may change between its parts.
SHAPES_THE_RUN = ["seed", "model", "method", "train"]


def new_run(root: Path, config: Config) -> Path:
    """Make `runs/<id>/` with the resolved settings in it. Ids sort by time: UTC, stage, method."""
    import yaml

    started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{started}-{config.train.stage}-{config.method.name}"
    run = root / "runs" / name
    for number in range(2, 1000):
        try:
            run.mkdir(parents=True)
            break
        except FileExistsError:  # another run started within this second
            run = root / "runs" / f"{name}-{number}"
    settings = config.model_dump(mode="json")
    write_text(run / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return run


def load_manifest(run: Path) -> dict[str, Any]:
    """A run's `manifest.json`.

    Raises:
        ConfigError: `run` is not a run's folder.
    """
    path = run / "manifest.json"
    if not path.is_file():
        raise ConfigError(Problem(where=str(run), message="is not a run: it has no manifest.json"))
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def save_manifest(run: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json` in place of the one before."""
    write_json(run / "manifest.json", dict(manifest))


def list_runs(root: Path) -> list[Path]:
    """All runs of the project at `root`, oldest first."""
    return sorted(path.parent for path in (root / "runs").glob("*/manifest.json"))


def latest_run(root: Path, finished_only: bool = True) -> Path:
    """The newest run of the project.

    Raises:
        ConfigError: there is none.
    """
    runs = [run for run in list_runs(root) if not finished_only or load_manifest(run)["status"] == "finished"]
    if not runs:
        kind = "finished run" if finished_only else "run"
        raise ConfigError(
            Problem(
                where=str(root / "runs"), message=f"there is no {kind}", hint="make one with `casekit train`"
            )
        )
    return runs[-1]


def find_run(root: Path, run_id: str | None = None) -> Path:
    """The run with that id, or whose id alone begins so; without an id the newest finished run.

    Raises:
        ConfigError: no run, or more than one, is meant.
    """
    if run_id is None:
        return latest_run(root)
    names = [run.name for run in list_runs(root)]
    if run_id in names:
        return root / "runs" / run_id
    matches = [name for name in names if name.startswith(run_id)]
    if len(matches) == 1:
        return root / "runs" / matches[0]
    close = matches or difflib.get_close_matches(run_id, names, cutoff=0.4) or names[-3:]
    message = f"{run_id!r} begins {len(matches)} run ids" if matches else f"there is no run {run_id!r}"
    hint = f"did you mean {', '.join(close)}?" if close else "make one with `casekit train`"
    raise ConfigError(Problem(where=str(root / "runs"), message=message, hint=hint))


def last_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run; its state file is the last thing written to it."""
    states = (run / "checkpoints").glob("checkpoint-*/trainer_state.json")
    return max((state.parent for state in states), key=_step_of, default=None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def check_resumable(run: Path, config: Config, data: Mapping[str, str]) -> Path | None:
    """The checkpoint from which `run` continues; None where it stopped before its first one.

    Args:
        data: the prepared data now: `fingerprint` and `sha256`.

    Raises:
        ConfigError: the run is finished, or its data or a setting that shapes it has changed; every
            difference is named.
    """
    manifest = load_manifest(run)
    if manifest["status"] == "finished":
        raise ConfigError(
            Problem(where=str(run), message="is finished; there is nothing to resume", hint="start a new run")
        )
    import yaml

    then = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    now = config.model_dump(mode="json")
    problems = [
        Problem(where=key, message=f"was {before!r} when the run began and is {after!r} now")
        for key, before, after in _differences(then, now, SHAPES_THE_RUN)
    ]
    if manifest["data"]["sha256"] != data["sha256"]:
        before, after = manifest["data"]["fingerprint"], data["fingerprint"]
        message = f"was {before!r} when the run began and is {after!r} now"
        problems.append(Problem(where="data", message=message))
    if problems:
        advice = Problem(
            where=str(run), message="cannot be resumed as it began", hint="restore these, or start a new run"
        )
        raise ConfigError([*problems, advice])
    return last_checkpoint(run)


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], keys: list[str], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for key in keys:
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, sorted({*before, *after}), f"{prefix}{key}.")
        elif before != after:
            found.append((f"{prefix}{key}", before, after))
    return found
