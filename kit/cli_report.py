"""What is done with reports once they are there: answers reviewed, numbers verified, all of them listed."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli_words import HERE, NO_VALUE, Root, console, errors, say
from kit.config.errors import CasekitError, ConfigError, ExitCode, Problem
from kit.config.words import settings_and_names

_SHOWN = 40


def find_report(word: str | None, project: Path) -> Path:
    """A report's folder by its id in the project, or as a path; the newest one if none is named.

    What `casekit compare` put beside the reports is passed over, unless it is named.

    Raises:
        ConfigError: there is no such report.
    """
    from kit.report.read import holds_comparison
    from kit.terminal import find_reports

    known = [folder for folder in find_reports(project) if not holds_comparison(folder)]
    if word is None and known:
        return known[-1]
    places = [project / "reports" / word, Path(word)] if word else []
    for place in places:
        if (place / "report.json").is_file():
            return place
    what = f"no report {word!r}" if word else "no report"
    hint = (
        f"reports: {', '.join(folder.name for folder in known) or 'none yet; make one with `casekit report`'}"
    )
    raise ConfigError(Problem(str(project / "reports"), what, hint))


def verify(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REPORT|KEY=VALUE",
            help="Its id, or its folder; the last if not given. Settings for this call.",
        ),
    ] = None,
    project: Root = HERE,
    every: Annotated[
        bool, typer.Option("--all", metavar=NO_VALUE, help=f"Every difference, not the first {_SHOWN}.")
    ] = False,
) -> None:
    """Make a report's numbers again from the saved answers, and say whether it is true.

    Exit 0: every number and every hash holds. Exit 1: something differs; it says what, from what to what.
    Exit 2: a file that the report rests on is not there.
    """
    from kit import pipeline
    from kit.config import load_config

    overrides, named = settings_and_names(words or [])
    if len(named) > 1:
        raise CasekitError(f"more than one report is named: {', '.join(named)}", "name one")
    loaded = load_config(project, overrides)
    folder = find_report(named[0] if named else None, project)
    if not named:
        errors.print(f"the last report, {folder.name}", style="dim", markup=False, highlight=False)
    found = pipeline.verify(loaded, folder)
    shown = found.differences if every else found.differences[:_SHOWN]
    for difference in shown:
        errors.print(f"differs  {difference}", markup=False, highlight=False, soft_wrap=True)
    if len(shown) < len(found.differences):
        errors.print(f"… and {len(found.differences) - len(shown)} more; --all lists every one")
    if any(str(difference).startswith("conf:") for difference in found.differences):
        found.notes.append(
            "settings that were given on the command line then are given to verify as well: key=value"
        )
    for note in found.notes:
        errors.print(f"note  {note}", markup=False, highlight=False, soft_wrap=True)
    if found.differences:
        raise typer.Exit(ExitCode.GATE_FAILED)
    say("true", folder / "report.json")


def review(
    report: Annotated[
        str | None, typer.Argument(metavar="[REPORT]", help="Its id, or its folder; the last if not given.")
    ] = None,
    project: Root = HERE,
    add: Annotated[
        Path | None, typer.Option(help="Adds the lines that a report's page gave, and asks nothing.")
    ] = None,
    reviewer: Annotated[str | None, typer.Option(help="Your name, as it stands beside each verdict.")] = None,
) -> None:
    """Accept or reject the answers a report shows; the verdicts go to the project's `reviews.jsonl`."""
    from kit.report.reviews import FILE, add_reviews, read_reviews
    from kit.terminal_review import ask_reviews

    path = project / FILE
    before = read_reviews(path)
    if add is not None:
        if not add.is_file():
            raise ConfigError(Problem(str(add), "is not there", "name the file that the report's page gave"))
        new = [line for line in read_reviews(add) if line not in before]
    else:
        new = ask_reviews(project, find_report(report, project), before, reviewer)
    if new:
        add_reviews(path, new)
    console.print(f"{len(new)} {'verdict' if len(new) == 1 else 'verdicts'} added")
    if path.is_file():
        say("reviews", path)


def reports(
    projects: Annotated[list[Path] | None, typer.Argument(help="Projects; this one if none given.")] = None,
) -> None:
    """List the reports of one or more projects, a line each: verdict, main score and where it lies."""
    from kit.terminal import find_reports, report_line

    folders = [folder for project in projects or [HERE] for folder in find_reports(project)]
    if not folders:
        places = ", ".join(str(project) for project in projects or [HERE.resolve()])
        raise CasekitError(f"no report in {places}", "make one with `casekit run`")
    for folder in folders:
        console.print(report_line(folder), highlight=False, soft_wrap=True)
