"""The report of a comparison: two systems as in any report; several as a table of all, and one report each.

`<out>/` holds what a report holds and `scores.json`; with more than two systems that of each pair lies in a
folder of its own, and `report.html`, `report.md` and `report.json` above them show all.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from kit.config.errors import ConfigError, ExitCode, Problem
from kit.config.schema import Config
from kit.evaluate.gates import significance_family
from kit.evaluate.given import Given
from kit.evaluate.naming import names_of
from kit.files import new_folder, sha256_file, write_json, write_text
from kit.report.build import ReportResult
from kit.report.gather import Seeds, build_view
from kit.report.html import page
from kit.report.judgement import Judgement, judge, report_json
from kit.report.markdown import markdown
from kit.report.overview import Overview, build_overview, overview_json, overview_markdown, overview_page
from kit.report.read import Inputs, Json, read_earlier
from kit.report.view import Verdict, View

_FACES = {"report.html", "report.md", "report.json", "scores.json"}
_WORST_FIRST = ("invalid", "failed", "not enough evidence", "passed", "compared")


def write_comparison(
    config: Config, root: Path, family: Sequence[Json], systems: Sequence[Given], out: Path
) -> ReportResult:
    """Judge the gates for every system but the first, and write the report.

    Args:
        config: gates, claims and languages; without gates nothing is decided, and the exit code is 0.
        root: the folder that paths in the settings start from.
        family: the scores of every pair, in the order of the systems after the first.
        systems: the first is the reference.
        out: made, or replaced where it holds an earlier comparison and nothing else.

    Raises:
        ConfigError: `out` holds something else, or a gate names a metric that was not measured.
    """
    refuse_other_contents(out)
    files = {given.name: sha256_file(given.path) for given in systems}
    with new_folder(out) as temporary:
        if len(family) == 1:
            verdict = _write_pair(config, root, family[0], files, temporary, out, ())
        else:
            overview = _write_family(config, root, family, files, temporary, out)
            verdict = overview.verdict
            write_text(temporary / "report.html", overview_page(overview))
            write_text(temporary / "report.md", overview_markdown(overview))
            write_json(temporary / "report.json", overview_json(overview, family))
    return ReportResult(out, ExitCode(verdict.exit_code), asdict(verdict))


def refuse_other_contents(out: Path) -> None:
    """Keep a folder that is no earlier comparison from being replaced.

    Raises:
        ConfigError: it holds something that this command did not write.
    """
    if not out.exists():
        return
    hint = "name a new folder, or empty this one"
    if not out.is_dir():
        raise ConfigError(Problem(str(out), "is a file, and the report is a folder", hint))
    others = sorted(path.relative_to(out) for path in out.rglob("*") if not path.is_dir())
    others = [path for path in others if path.name not in _FACES or len(path.parts) > 2]
    if others:
        raise ConfigError(Problem(str(out), f"holds other things, such as {others[0]}", hint))


def _write_family(
    config: Config, root: Path, family: Sequence[Json], files: dict[str, str], temporary: Path, out: Path
) -> Overview:
    tested = [list(significance_family(scores, config.gates).values()) for scores in family]
    folders = _folders([names_of(scores).tuned for scores in family])
    verdicts = []
    for place, (scores, folder) in enumerate(zip(family, folders, strict=True)):
        beside = [p for other, values in enumerate(tested) if other != place for p in values]
        (temporary / folder).mkdir()
        pair = _write_pair(config, root, scores, files, temporary / folder, out / folder, beside)
        verdicts.append(pair)
    return build_overview(config, family, files, folders, verdicts, _overall(family, verdicts))


def _write_pair(
    config: Config,
    root: Path,
    scores: Json,
    files: dict[str, str],
    folder: Path,
    final: Path,
    beside: Sequence[float],
) -> Verdict:
    """Write the report of one pair into `folder`, which becomes `final`."""
    write_json(folder / "scores.json", scores)
    names = names_of(scores)
    # The files' own hashes change with the order of their lines, which `scores.json` does not.
    found = scores | {"files": {name: files[name] for name in (names.base, names.tuned)}}
    same = (read_earlier(final) or {}).get("evaluation") == scores["evaluation"]
    judged = judge(found, config, folder, final if same else folder, (), beside)
    if not config.gates and judged.verdict.status == "not enough evidence":
        judged = replace(judged, verdict=_undecided() if found["metrics"] else _nothing_measured(found))
    view = _view(config, root, folder, found, judged)
    write_text(folder / "report.html", page(view))
    write_text(folder / "report.md", markdown(view))
    write_json(folder / "report.json", report_json(found, judged, []))
    return judged.verdict


def _view(config: Config, root: Path, folder: Path, found: Json, judged: Judgement) -> View:
    inputs = Inputs(scores=found, manifest=None, curve=[], data=None)
    view = build_view(config, root, folder, inputs, judged, Seeds(0, []))
    names = names_of(found)
    return replace(view, title=f"{names.tuned} against {names.base}", summary="", project="", not_for=[])


def _undecided() -> Verdict:
    said = "No gates are set: the systems are compared, and nothing is decided."
    return Verdict("compared", int(ExitCode.DONE), said)


def _nothing_measured(found: Json) -> Verdict:
    """What no metric could be held against: an empty table is no comparison."""
    lost = "; ".join(f"{one['name']} {one['why']}" for one in found["unscored"])
    said = (
        f"Nothing was measured: {lost}. Metrics read `answer` (the reference) or labels under `expected`, "
        "and no prompt has what these read."
    )
    return Verdict("not enough evidence", int(ExitCode.NOT_ENOUGH_EVIDENCE), said)


def _overall(family: Sequence[Json], verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of all verdicts, with what became of each system."""
    worst = min(verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.status))
    if worst.status == "compared":
        return worst
    said = "; ".join(
        f"{names_of(scores).tuned}: {verdict.status}"
        for scores, verdict in zip(family, verdicts, strict=True)
    )
    return replace(worst, sentence=f"{said}.")


def _folders(names: Sequence[str]) -> list[str]:
    """A folder's name for each system: its number, and of its name what no path would act on."""
    plain = [re.sub(r"[^\w.-]+", "-", name).strip(".-")[:60] for name in names]
    return [f"{number}-{name}" for number, name in enumerate(plain, start=1)]
