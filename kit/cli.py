"""The `casekit` command: one thin function a command. Imports nothing heavy until a command runs."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from kit.cli_data import data_app
from kit.cli_report import reports, review, verify
from kit.cli_stop import say_how_to_go_on
from kit.cli_systems import answer, compare
from kit.cli_train import run_and_words, say_end, say_which_run, tune, watch
from kit.cli_words import HERE, NO_VALUE, Overrides, Root, console, errors, say, tell, warn
from kit.config.errors import CasekitError, ExitCode, Terminated
from kit.models.quiet import quiet_imports

if TYPE_CHECKING:
    from kit.evaluate.plan import Plan
    from kit.report.build import ReportResult

app = typer.Typer(
    name="casekit",
    help="Turn a general language model into a dependable domain assistant, and prove that it is one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
policy_app = typer.Typer(help="The case's rules.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Work on a project")
app.add_typer(policy_app, name="policy", rich_help_panel="Work on a project")

Answer = Annotated[
    list[str] | None,
    typer.Option("--answer", "-d", metavar="KEY=VALUE", help="Answers a question, such as ci=gitlab."),
]
Schema = Annotated[
    bool, typer.Option("--schema", metavar=NO_VALUE, help="Print the JSON Schema of what it writes instead.")
]
SCAFFOLD = "Make a project"
WORK = "Work on a project"


def main() -> None:
    """Run a command; print what is wrong for the person who must fix it, and exit with its code."""
    quiet_imports()
    try:
        app()
    except CasekitError as error:
        for problem in error.problems:
            tell("[bold red]error[/]", problem)
        _let_main_speak_first()
        sys.exit(int(error.exit_code))
    except SystemExit as stopped:
        if stopped.code == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this exit, without a word
            say_how_to_go_on("interrupted", sys.argv[1:])
        raise
    except Terminated as stopped:
        say_how_to_go_on("stopped by SIGTERM", sys.argv[1:])
        sys.exit(int(stopped.exit_code))


def _let_main_speak_first() -> None:
    """Of several processes the main one meets the same error, mostly: what the others say is shown only where
    one of them ends first."""
    from kit.train.processes import is_main, was_launched

    if was_launched() and not is_main():
        time.sleep(5)


def _announce(plan: "Plan") -> None:
    """Say what so many prompts could show; warnings go where errors go."""
    from kit.terminal import power_table

    console.print(power_table(plan))
    for warning in plan.warnings:
        errors.print("warning ", style="yellow", end="")
        errors.print(warning, markup=False, highlight=False, soft_wrap=True)


def _finish(result: "ReportResult") -> None:
    from kit.terminal import headline

    console.print(headline([result.folder]))
    say("report", result.folder / "report.html")
    if (result.folder / "report.pdf").is_file():
        say("pdf", result.folder / "report.pdf")
    raise typer.Exit(int(result.exit_code))


def _print_schema(name: Literal["report", "scores"]) -> None:
    from kit.report.contract import schema_text

    print(schema_text(name), end="")


def _version(show: bool) -> None:
    if show:
        import kit

        console.print(f"casekit {kit.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar=NO_VALUE)
    ] = False,
) -> None:
    pass


# --- make a project ---------------------------------------------------------------------------


@app.command(rich_help_panel=SCAFFOLD)
def new(
    destination: Annotated[Path, typer.Argument(help="The folder to make.")],
    recipe: Annotated[str | None, typer.Option(help="finance, medical, ecommerce or blank.")] = None,
    answer: Answer = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", "-l", metavar=NO_VALUE, help="Ask nothing.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar=NO_VALUE, help="Do not say what to do next.")
    ] = False,
) -> None:
    """Make a ready project for a case."""
    from kit.scaffold.answers import parse_answers
    from kit.scaffold.new import new_project

    answers = parse_answers(answer or [])
    if recipe is not None:
        answers["recipe"] = recipe
    new_project(destination, answers, defaults=defaults or not sys.stdin.isatty(), quiet=quiet)


@app.command(rich_help_panel=SCAFFOLD)
def recipes(
    name: Annotated[str | None, typer.Argument(help="Shows this recipe's file.")] = None,
) -> None:
    """List the presets, or show one."""
    from kit.scaffold.recipes import list_recipes, recipe_text, recipes_table

    if name is None:
        console.print(recipes_table(list_recipes()))
    else:
        console.print(recipe_text(name), markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=SCAFFOLD)
def update(
    project: Root = HERE,
    answer: Answer = None,
    version: Annotated[
        str | None, typer.Option(metavar="REF", help="A tag or commit instead of the last release.")
    ] = None,
) -> None:
    """Bring later recipe and kit improvements to this project; exit 1 when something needs a hand.

    `--answer recipe=…` and `--answer ci=…` change what the project was made for.
    """
    from kit.scaffold.answers import parse_answers
    from kit.scaffold.update import update_project

    result = update_project(project.resolve(), parse_answers(answer or []), version)
    for path in result.conflicts:
        errors.print(f"conflict   {path}", markup=False, highlight=False, soft_wrap=True)
    for path in result.lost_edits:
        errors.print(
            f"lost edit  {path}  (it is in `git show HEAD:{path}`)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for problem in result.problems:
        tell("[bold red]error[/]", problem)
    if result.conflicts or result.lost_edits or result.problems:
        raise typer.Exit(ExitCode.GATE_FAILED)
    console.print("up to date, nothing lost")


# --- work on a project ------------------------------------------------------------------------


@app.command(rich_help_panel=WORK)
def config(
    overrides: Overrides = None,
    project: Root = HERE,
    schema: Annotated[
        bool, typer.Option("--schema", metavar=NO_VALUE, help="Print the JSON Schema instead.")
    ] = False,
) -> None:
    """Print every setting with the layer it came from."""
    if schema:
        import json

        from kit.config.show import json_schema

        print(json.dumps(json_schema(), indent=2))
        return
    from kit.config import load_config
    from kit.config.show import settings_table

    table = settings_table(load_config(project, overrides or []))
    (console if console.is_terminal else Console(width=200)).print(table)


@policy_app.command("test")
def policy_test(
    policy: Annotated[Path, typer.Argument(help="The policy file.")] = Path("conf/policy.yaml"),
) -> None:
    """Hold every rule of the policy against its own examples; exit 1 when one fails."""
    from kit.evaluate.policy import load_policy
    from kit.evaluate.policy_examples import check_policy
    from kit.terminal import policy_table

    checked = check_policy(load_policy(policy))
    if not checked:
        raise CasekitError(f"{policy} has no rules and no phrases", "see docs/reference/metrics.md")
    (console if console.is_terminal else Console(width=120)).print(policy_table(checked))
    problems = [problem for part in checked for problem in part.problems]
    for problem in problems:
        errors.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    failed = sum(bool(part.problems) for part in checked)
    if problems:
        console.print(f"{failed} of {len(checked)} failed")
        raise typer.Exit(ExitCode.GATE_FAILED)
    console.print(f"all {len(checked)} hold on {sum(part.examples for part in checked)} examples")


@app.command(rich_help_panel=WORK)
def train(
    overrides: Overrides = None,
    project: Root = HERE,
    resume: Annotated[
        bool, typer.Option("--resume", metavar=NO_VALUE, help="Continue the last run that did not finish.")
    ] = False,
    run: Annotated[str | None, typer.Option(help="With --resume: which run.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Train in so many processes, one a GPU.", show_default=False)
    ] = None,
) -> None:
    """Tune the model on the prepared data.

    `--resume` goes on with the settings that the run began with, its `key=value` words among them.
    """
    from kit import pipeline
    from kit.config import load_config
    from kit.early import check_early
    from kit.train.processes import was_launched

    if run and not resume:
        raise CasekitError(f"--run {run} names a run to resume", "add --resume, or leave --run out")
    words = [*(overrides or []), *([f"hardware.num_processes={processes}"] if processes else [])]
    if resume:
        run, words = run_and_words(project, run, words)
    loaded = check_early(load_config(project, words), prepared=True)
    folder = pipeline.resume(loaded, run) if resume else pipeline.train(loaded)
    if not was_launched():
        say_end(folder)
        say("run", folder)


@app.command(rich_help_panel=WORK)
def evaluate(
    overrides: Overrides = None,
    project: Root = HERE,
    run: Annotated[str | None, typer.Option(help="Which run; the last one if not given.")] = None,
    schema: Schema = False,
) -> None:
    """Answer the held-out prompts with base and tuned, and score both."""
    if schema:
        _print_schema("scores")
        return
    from kit import pipeline
    from kit.config import load_config
    from kit.early import check_early

    loaded = check_early(load_config(project, overrides or []), model=False)
    say_which_run(project, run)
    folder = pipeline.evaluate(loaded, run, _announce)
    if (folder / "reward.json").is_file():
        from kit.terminal_reward import reward_table

        (console if console.is_terminal else Console(width=120)).print(reward_table(folder))
    say("evaluation", folder)


@app.command(rich_help_panel=WORK)
def report(
    overrides: Overrides = None,
    project: Root = HERE,
    evaluation: Annotated[str | None, typer.Option(help="Which evaluation; the last if not given.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="REPORT", help="The released report, an id or a folder; a regression is exit 1."
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", metavar=NO_VALUE, help="Print it to report.pdf too; needs Chromium.")
    ] = False,
    schema: Schema = False,
) -> None:
    """Judge the gates and write the report; the exit code is its verdict."""
    if schema:
        _print_schema("report")
        return
    from kit import pipeline
    from kit.config import load_config

    loaded = load_config(project, overrides or [])
    result = pipeline.report(loaded, evaluation, baseline, pdf)
    if changed := pipeline.made_otherwise(loaded, evaluation):
        warn(
            f"{'; '.join(changed)}: give the evaluation's words to `casekit report` and `verify` too, or "
            "make it anew with `casekit evaluate`; a report of it as it is cannot be verified"
        )
    _finish(result)


app.command(rich_help_panel=WORK)(watch)
app.command(rich_help_panel=WORK)(tune)
app.command(rich_help_panel=WORK)(verify)
app.command(rich_help_panel=WORK)(review)
app.command(rich_help_panel=WORK)(reports)
app.command(rich_help_panel=WORK)(answer)
app.command(rich_help_panel=WORK)(compare)


@app.command("run", rich_help_panel=WORK)
def run_all(overrides: Overrides = None, project: Root = HERE) -> None:
    """The whole way: prepare, train, evaluate, report."""
    from kit import pipeline
    from kit.config import load_config
    from kit.early import check_early

    _finish(pipeline.run(check_early(load_config(project, overrides or [])), _announce))


@app.command(rich_help_panel=WORK)
def chat(
    message: Annotated[str | None, typer.Argument(help="One message; without it, a conversation.")] = None,
    project: Root = HERE,
    run: Annotated[str | None, typer.Option(help="Which run; the last one if not given.")] = None,
    base: Annotated[
        bool, typer.Option("--base", metavar=NO_VALUE, help="Talk to the base model instead.")
    ] = False,
) -> None:
    """Talk to the tuned model."""
    from kit import pipeline
    from kit.config import load_config
    from kit.early import missing_device

    loaded = load_config(project)
    if problems := missing_device(loaded.config.hardware):
        raise CasekitError(problems)
    if not base:
        say_which_run(project, run)
    pipeline.chat(loaded, message, run_id=run, base=base)
