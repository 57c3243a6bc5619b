"""A run's folder: its id, its settings, its checkpoints, and how it is found."""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.layers import Origin
from kit.config.schema import Config
from kit.config.show import leaves
from kit.config.yaml_lines import Key, parse_yaml
from kit.files import sync, write_json
from kit.train.processes import is_main


def resolved_yaml(config: Config, origin: Callable[[Key], Origin] | None = None) -> str:
    """Every setting as YAML that loads to `config`, with its layer and place in a comment after it."""
    import yaml

    class OneLine(yaml.SafeDumper):
        """Keeps each value on one line, so that a comment can follow it."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if len(value.splitlines()) > 1 else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    OneLine.add_representer(str, text)
    settings = config.model_dump(mode="json")
    written = yaml.dump(settings, Dumper=OneLine, sort_keys=False, allow_unicode=True, width=math.inf)
    if origin is None:
        return written
    lines = written.splitlines()
    _, places = parse_yaml(written, "config.yaml")
    for key, _ in leaves(settings):
        found = origin(key)
        named = found.where.startswith(found.layer)  # `command line: train.max_steps=20`
        place = found.where if named else f"{found.layer}, {found.where}"
        said = found.layer if found.layer == "kit default" else " ".join(place.split())
        lines[places[key] - 1] += f"  # {said}"
    return "\n".join(lines) + "\n"


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


def runs_before(run: Path) -> list[Path]:
    """The runs of the stages before, the latest first: each the one from whose golden checkpoint the other
    went on. Folders that are not there any more are named all the same; what was before them nobody knows.
    """
    found: list[Path] = []
    while (run / "manifest.json").is_file() and (continues := load_manifest(run).get("continues")):
        run = run.parent / continues["run"]
        found.append(run)
    return found


def save_manifest(run: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json` in place of the one before; it is on the disk when this returns.

    Of several processes the main one writes.
    """
    if is_main():
        write_json(run / "manifest.json", dict(manifest))
        sync(run / "manifest.json")


def note(run: Path, **facts: Any) -> None:
    """Add to the manifest what was learned while the run was on, so that it is there however it ends.

    A trainer that is used without a run (a benchmark) has none; then nothing is written.
    """
    if (run / "manifest.json").is_file():
        save_manifest(run, {**load_manifest(run), **facts})


def list_runs(root: Path) -> list[Path]:
    """All runs of the project at `root`, oldest first."""
    found = (path.parent for path in (root / "runs").glob("*/manifest.json"))
    return sorted(run for run in found if not run.name.startswith("."))  # those are being made


def latest_run(root: Path) -> Path:
    """The newest finished run of the project.

    Raises:
        ConfigError: there is none.
    """
    runs = list_runs(root)
    for run in reversed(runs):
        if load_manifest(run)["status"] == "finished":
            return run
    going_on = f"`casekit train --resume` goes on with {runs[-1].name}" if runs else ""
    raise _no_run(root, "there is no finished run", going_on or "make one with `casekit train`")


def unfinished_since(root: Path, run: Path) -> list[Path]:
    """The runs that began after this one and did not finish, oldest first."""
    later = [other for other in list_runs(root) if other.name > run.name]
    return [other for other in later if load_manifest(other)["status"] != "finished"]


def newest_run(root: Path) -> Path:
    """The run that began last, whatever became of it.

    Raises:
        ConfigError: there is none.
    """
    if runs := list_runs(root):
        return runs[-1]
    raise _no_run(root, "there is no run", "make one with `casekit train`")


def latest_unfinished_run(root: Path) -> Path:
    """The newest run that can be resumed: interrupted, failed, or ended by the machine.

    Raises:
        ConfigError: there is none.
    """
    runs = list_runs(root)
    for run in reversed(runs):
        if load_manifest(run)["status"] != "finished":
            return run
    if runs:
        raise _no_run(
            root, "every run is finished, there is none to resume", "start one with `casekit train`"
        )
    raise _no_run(root, "there is no run", "make one with `casekit train`")


def _no_run(root: Path, message: str, hint: str) -> ConfigError:
    return ConfigError(Problem(where=str(root / "runs"), message=message, hint=hint))


def _id_at(root: Path, word: str) -> str:
    """The id of the run of this project that `word` is a path to, from here or from its root; else `word`."""
    runs = (root / "runs").resolve()
    found = (Path(word), root / word) if Path(word).parts[1:] else ()
    return next((path.name for path in found if path.parent.resolve() == runs), word)


def find_run(root: Path, run_id: str | None = None) -> Path:
    """The run with that id, or whose id alone begins so; without an id the newest finished run.

    Args:
        run_id: also a path that leads to a run of this project, as a shell completes it.

    Raises:
        ConfigError: no run, or more than one, is meant.
    """
    if run_id is None:
        return latest_run(root)
    names = [run.name for run in list_runs(root)]
    run_id = _id_at(root, run_id)
    if run_id in names:
        return root / "runs" / run_id
    matches = [name for name in names if name.startswith(run_id)]
    if len(matches) == 1:
        return root / "runs" / matches[0]
    close = matches or difflib.get_close_matches(run_id, names, cutoff=0.4) or names[-3:]
    message = f"{run_id!r} begins {len(matches)} run ids" if matches else f"there is no run {run_id!r}"
    hint = f"did you mean {', '.join(close)}?" if close else "make one with `casekit train`"
    raise ConfigError(Problem(where=str(root / "runs"), message=message, hint=hint))
