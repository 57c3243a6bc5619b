"""The last released report, and this evaluation held against it: read, judged, and as rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config.errors import ConfigError, DataError, ExitCode, Problem
from kit.config.schema import Config
from kit.files import sha256_file, sha256_json
from kit.report import scores
from kit.report.formatting import Unit, count, difference, interval, plural, quantity
from kit.report.read import Json, read_report
from kit.report.sources import Sources
from kit.report.view import Verdict
from kit.report.view_release import BaselineRow, BaselineView
from kit.report.words import better, sentence

if TYPE_CHECKING:
    from kit.evaluate.baseline import BaselineResult, Change
    from kit.evaluate.compare import Statistic

_FILES = ("report.json", "items.jsonl")


@dataclass(frozen=True)
class Baseline:
    """A released report as it lies on disk."""

    named: str
    """As the project names it: a folder in the project from its root, any other as it was given."""
    report: Json
    items: list[Json]
    sha256: dict[str, str]
    """Of its `report.json` and its `items.jsonl`."""


@dataclass(frozen=True)
class Held:
    """An evaluation held against a baseline."""

    baseline: Baseline
    result: "BaselineResult"

    def judged_by(self, config: Config) -> str:
        """A hash of the baseline and the tolerances."""
        return sha256_json([self.baseline.sha256, config.report.tolerance, config.report.tolerances])

    def as_json(self) -> Json:
        """The `baseline` of `report.json`."""
        return {"report": self.baseline.named, "sha256": self.baseline.sha256, **asdict(self.result)}


def find_baseline(sources: Sources, word: str | None) -> Baseline | None:
    """The released report that an evaluation is to be held against.

    The settings may name a report of this very evaluation, once it is released: it is no baseline of its own.

    Args:
        word: what the command line asks for; None takes `report.baseline` of the settings.

    Raises:
        ConfigError: there is no such report, or the command line names the evaluation's own.
        DataError: it is broken, or was made by another version of casekit.
    """
    named = word or sources.config.report.baseline
    if named is None:
        return None
    baseline = read_baseline(sources.root, named)
    if baseline.report["evaluation"] != sources.evaluation.name:
        return baseline
    if word is None:
        return None
    hint = "name an earlier report, or another evaluation with --evaluation"
    raise ConfigError(Problem("--baseline", f"{word} is the report of this very evaluation", hint))


def read_baseline(root: Path, word: str) -> Baseline:
    """The report that `word` names: an id under `reports/`, or a folder.

    Raises:
        ConfigError: there is no such report.
        DataError: it is broken, or was made by another version of casekit.
    """
    places = [root / "reports" / word, root / word, Path(word)]
    folder = next((place for place in places if (place / "report.json").is_file()), None)
    if folder is None:
        known = sorted(path.parent.name for path in root.glob("reports/*/report.json"))
        hint = f"reports: {', '.join(known) or 'none'}; or name a folder with a report.json"
        raise ConfigError(Problem("baseline", f"no report {word!r}", hint))
    report = read_report(folder)
    inside = folder.resolve().is_relative_to(root.resolve())
    named = folder.resolve().relative_to(root.resolve()).as_posix() if inside else word
    return Baseline(named, report, _read_items(folder), {name: sha256_file(folder / name) for name in _FILES})


def _read_items(folder: Path) -> list[Json]:
    path = folder / "items.jsonl"
    if not path.is_file():
        raise DataError(Problem(str(path), "is not there", "keep a released report's folder whole"))
    items = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            items.append(json.loads(line))
        except ValueError as error:
            hint = "restore the file as it was released"
            raise DataError(Problem(f"{path}:{number}", "is not JSON", hint)) from error
    return items


def hold_against(baseline: Baseline, found: Json, config: Config, root: Path) -> Held:
    """Compare an evaluation's scores with the baseline's, by the project's tolerances.

    Raises:
        InvalidRunError: nothing is comparable (exit code 4).
    """
    from kit.evaluate.baseline import Tolerance, compare_with_baseline
    from kit.evaluate.compare import Settings

    asked = config.report
    settings = Settings(found["confidence"], config.evaluate.bootstrap_draws, config.seed)
    tolerance = Tolerance(asked.tolerance, asked.tolerances)
    known = {entry["name"] for entry in (*found["metrics"], *baseline.report["metrics"])}
    if unknown := sorted(set(asked.tolerances) - known):
        hint = f"metrics: {', '.join(sorted(known))}"
        raise ConfigError(Problem("report.tolerances", f"no metric {', '.join(unknown)}", hint))
    statistics = _statistics(config, root) if any(m["of_sums"] for m in found["metrics"]) else {}
    then = baseline.report
    result = compare_with_baseline(found, then, baseline.items, tolerance, settings, statistics)
    return Held(baseline, result)


def _statistics(config: Config, root: Path) -> dict[str, "Statistic"]:
    """For metrics made from sums, the figure that sums make."""
    from kit.evaluate.evaluate import load_metrics
    from kit.evaluate.item_metric import CorpusMetric
    from kit.hooks import load_hooks

    loaded = load_metrics(config, load_hooks(root), root)
    modules = {metric.name: metric.module for metric in loaded}
    return {name: module.statistic for name, module in modules.items() if isinstance(module, CorpusMetric)}


def with_baseline(verdict: Verdict, result: "BaselineResult") -> Verdict:
    """The verdict of the gates and of the baseline: the worse of the two, with both sentences."""
    own = {
        "held": ("passed", ExitCode.DONE),
        "regressed": ("failed", ExitCode.GATE_FAILED),
        "not enough evidence": ("not enough evidence", ExitCode.NOT_ENOUGH_EVIDENCE),
    }[result.status]
    order = ("passed", "not enough evidence", "failed", "invalid")
    both = replace(verdict, sentence=f"{verdict.sentence} {result.sentence}")
    if order.index(own[0]) <= order.index(verdict.status):
        return both
    return replace(both, status=own[0], exit_code=int(own[1]))


def baseline_view(held: Held, found: Json) -> BaselineView:
    """The comparison in words."""
    result, then = held.result, held.baseline.report["metrics"]
    units = {metric["name"]: scores.unit_of(metric) for metric in (*then, *found["metrics"])}
    prompts = f"{count(result.shared)} of {plural(result.prompts, 'prompt')}"
    if result.baseline_prompts != result.shared:
        prompts += f"; the baseline asked {count(result.baseline_prompts)}"
    return BaselineView(
        evaluation=result.evaluation,
        status=result.status,
        sentence=result.sentence,
        prompts=prompts,
        conditions=result.conditions,
        rows=[_row(change, units) for change in result.metrics],
    )


def _row(change: "Change", units: Mapping[str, Unit]) -> BaselineRow:
    unit, gap = units[change.name], change.difference
    allowed = "informs"
    if change.tolerance is not None:
        allowed = f"may lose {difference(change.tolerance, unit).removeprefix('+')}"
    return BaselineRow(
        label=change.label,
        better=better({"higher_is_better": change.higher_is_better}),
        n=plural(change.n, "prompt"),
        then=quantity(change.then, unit),
        now=quantity(change.now, unit),
        difference=difference(gap["estimate"] if gap else None, unit),
        difference_interval=interval(gap["low"], gap["high"], unit) if gap else "",
        tolerance=allowed,
        status=change.status,
        why=sentence(change.why),
    )
