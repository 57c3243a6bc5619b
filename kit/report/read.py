"""Reads what the earlier stages left: the scores, the run's manifest and curve, the data summary."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.config.yaml_lines import load_yaml
from kit.data.json_text import not_json
from kit.evaluate.contract import SCHEMA as SCORES_SCHEMA
from kit.train.runs import runs_before

SCHEMA = 1

Json = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """The four files a report is made of, as they stand on disk (contracts: architecture)."""

    scores: Json
    manifest: Json | None
    """None where answers are compared that no run of the project is known to have given."""
    curve: list[Json]
    """The lines of `metrics.jsonl`, in order."""
    data: Json | None
    earlier: list["Earlier"] = field(default_factory=list)
    """The runs of the stages before, in their order; one that was deleted is left out."""


@dataclass(frozen=True)
class Earlier:
    """The run of an earlier stage, from whose golden checkpoint the next one went on."""

    config: Config
    manifest: Json
    curve: list[Json]


def read_inputs(evaluation: Path, run: Path, prepared: Path) -> Inputs:
    """Read all inputs of a report.

    Raises:
        DataError: files that are absent, are not JSON or are of another schema; all of them at once.
    """
    problems: list[Problem] = []
    inputs = Inputs(
        scores=_read_json(evaluation / "scores.json", "casekit evaluate", problems, SCORES_SCHEMA),
        manifest=_read_json(run / "manifest.json", "casekit train", problems),
        curve=_read_lines(run / "metrics.jsonl", "casekit train", problems),
        data=_read_json(prepared / "data.json", "casekit data prepare", problems),
        earlier=[_read_earlier(stage, problems) for stage in reversed(runs_before(run)) if stage.is_dir()],
    )
    if problems:
        raise DataError(problems)
    return inputs


def _read_earlier(run: Path, problems: list[Problem]) -> Earlier:
    text = _read_text(run / "config.yaml", "casekit train", problems)
    return Earlier(
        config=Config.model_validate(load_yaml(run / "config.yaml")[0]) if text else Config(),
        manifest=_read_json(run / "manifest.json", "casekit train", problems),
        curve=_read_lines(run / "metrics.jsonl", "casekit train", problems),
    )


def read_earlier(report: Path) -> Json | None:
    """The `report.json` in a report's folder; None where there is none that could be read."""
    value = _readable(report)
    readable = isinstance(value, dict) and {"verdict", "gates"} <= value.keys()
    return value if readable else None


def read_scores(evaluation: Path) -> Json:
    """The `scores.json` of an evaluation's folder.

    Raises:
        DataError: it is absent or broken, or was made by another version of casekit.
    """
    problems: list[Problem] = []
    scores = _read_json(evaluation / "scores.json", "casekit evaluate", problems, SCORES_SCHEMA)
    if problems:
        raise DataError(problems)
    return scores


def is_comparison(report: Any) -> bool:
    """Whether a `report.json` is what `casekit compare` wrote: of files, and of no run of the project."""
    return isinstance(report, dict) and "files" in report


def holds_comparison(folder: Path) -> bool:
    """Whether the folder's `report.json` is a comparison's; one that cannot be read is not."""
    return is_comparison(_readable(folder))


def _readable(report: Path) -> Any:
    try:
        return json.loads((report / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_report(folder: Path) -> Json:
    """The `report.json` of a report's folder.

    Raises:
        DataError: it is absent or broken, is a comparison's, or was made by another version of casekit.
    """
    path, again = (
        folder / "report.json",
        "make it again with this casekit: casekit evaluate && casekit report",
    )
    if not path.is_file():
        raise DataError(Problem(str(path), "is not there", "name a report: its id, or its folder"))
    try:
        report: Json = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        found = not_json(error) if isinstance(error, json.JSONDecodeError) else f"cannot be read: {error}"
        raise DataError(Problem(str(path), found, again)) from error
    if is_comparison(report):
        hint = "name the report of an evaluation; a comparison is checked by making it again from its files"
        raise DataError(Problem(str(path), "is a comparison, which rests on no run of this project", hint))
    if not isinstance(report, dict) or report.get("schema") != SCORES_SCHEMA:
        number = report.get("schema") if isinstance(report, dict) else type(report).__name__
        raise DataError(Problem(str(path), f"found schema {number!r}, expected {SCORES_SCHEMA}", again))
    return report


def _read_json(path: Path, command: str, problems: list[Problem], schema: int = SCHEMA) -> Json:
    text = _read_text(path, command, problems)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        problems.append(Problem(f"{path}:{error.lineno}", not_json(error), f"run `{command}` again"))
        return {}
    if not isinstance(value, dict) or value.get("schema") != schema:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        problems.append(
            Problem(str(path), f"found schema {found!r}, expected {schema}", f"run `{command}` again")
        )
        return {}
    return value


def _read_lines(path: Path, command: str, problems: list[Problem]) -> list[Json]:
    text = _read_text(path, command, problems)
    records: list[Json] = []
    for number, line in enumerate((text or "").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            problems.append(Problem(f"{path}:{number}", not_json(error), f"run `{command}` again"))
    return records


def _read_text(path: Path, command: str, problems: list[Problem]) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(Problem(str(path), "is not there", f"run `{command}` first"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(path), f"cannot be read: {error}", f"run `{command}` again"))
    return None
