"""`casekit data`: one thin function a command. Imports nothing heavy until a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli_words import HERE, NO_VALUE, Overrides, Root, console, say, tell
from kit.config.errors import CasekitError, ExitCode
from kit.config.words import settings_and_names

data_app = typer.Typer(help="Check, prepare, show, compare and make data.", no_args_is_help=True)
SHOWN_PROBLEMS = 50


@data_app.command("check")
def data_check(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|KEY=VALUE", help="Files to check instead, settings for this call."),
    ] = None,
    project: Root = HERE,
    show_all: Annotated[
        bool, typer.Option("--all", metavar=NO_VALUE, help="List every problem, not the first 50.")
    ] = False,
) -> None:
    """List every problem with its file and line, and write nothing; exit 2 when there is one."""
    from kit import pipeline
    from kit.config import load_config
    from kit.terminal import data_table, problem_lines

    named = [word for word in words or [] if Path(word).is_file()]  # whatever its name looks like
    overrides, others = settings_and_names([word for word in words or [] if word not in named])
    files = [Path(word) for word in words or [] if word in named or word in others]
    found = pipeline.check(load_config(project, overrides), files)
    most = len(found.rejected) if show_all else SHOWN_PROBLEMS
    for line in problem_lines(found.rejected, most):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(data_table(found.summary, "listed above"))
    for problem in found.refused:
        tell("[yellow]warning[/]", problem)
    if found.rejected or (found.refused and not files):  # a file alone need not fill every split
        raise typer.Exit(ExitCode.BAD_INPUT)


@data_app.command("prepare")
def data_prepare(overrides: Overrides = None, project: Root = HERE) -> None:
    """Read, check, clean and split the data. Then tiny is built, where it is the base and not there yet."""
    from kit import pipeline
    from kit.base import ensure_base
    from kit.config import load_config
    from kit.data.prepared import load_summary
    from kit.terminal import data_table

    loaded = load_config(project, overrides or [])
    folder = pipeline.prepare(loaded)
    console.print(data_table(load_summary(folder), "in rejected.jsonl"))
    say("data", folder / "data.html")
    ensure_base(loaded.config)  # several processes that a launcher starts do not build it


@data_app.command("show")
def data_show(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROW|KEY=VALUE",
            help="Which row: its number from 0, its id, or file:line; settings for this call.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, valid or test; train for a number, else all.")
    ] = None,
    rejected: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Show rejected row N, from 0, and why.")
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", metavar=NO_VALUE, help="Show where each token ends.")
    ] = False,
    project: Root = HERE,
) -> None:
    """Show a row as the model sees it; the tokens that carry loss stand out."""
    from kit import pipeline
    from kit.config import load_config
    from kit.terminal_rows import Look

    overrides, rows = settings_and_names(words or [])
    if len(rows) > 1 or (rejected is not None and (rows or split)):
        raise CasekitError("more than one row is named", "give one ROW, or --rejected N alone")
    look = Look(colour=console.color_system is not None and not console.no_color, tokens=tokens)
    loaded = load_config(project, overrides)
    shown = pipeline.show_rows(loaded, rows[0] if rows else "0", split, rejected, look)
    console.print(shown, soft_wrap=True)


@data_app.command("diff")
def data_diff(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET", help="Prepared folders or beginnings of fingerprints; else the latest two."
        ),
    ] = None,
    project: Root = HERE,
    as_json: Annotated[bool, typer.Option("--json", metavar=NO_VALUE, help="Print JSON instead.")] = False,
) -> None:
    """Compare two prepared sets: rows, splits, checks, sources, settings, lengths."""
    from kit.data.diff import diff, find_sets
    from kit.terminal_diff import diff_text

    if len(sets or []) > 2:
        raise CasekitError(f"two prepared sets are compared, {len(sets or [])} are named", "name A and B")
    found = diff(*find_sets(project, sets or []))
    if as_json:
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console.print(diff_text(found), soft_wrap=True)


@data_app.command("synth")
def data_synth(
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    grammar: Annotated[Path, typer.Option(help="The phrase grammar.")] = Path("conf/dialogues.yaml"),
    count: Annotated[int, typer.Option(min=1, help="How many dialogues.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 42,
) -> None:
    """Make synthetic dialogues from a phrase grammar."""
    from kit import pipeline

    pipeline.write_synthetic(grammar, out, count, seed)
    say("synthetic dialogues", out)
