"""What a person sees in the terminal: tables of data and scores, and the chat."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kit.config import Config
from kit.evaluate.naming import Names, names_of
from kit.report.formatting import Unit, difference, interval, quantity, visible
from kit.report.read import is_comparison

if TYPE_CHECKING:
    from kit.data.rows import Rejection
    from kit.evaluate.plan import Plan
    from kit.evaluate.policy_examples import Checked

Turns = list[dict[str, str]]
_SHOWN_SOURCES = 10
_NAME_WIDTH = 24
"""Characters that a name has at least, where it is as long: of 80 the other columns leave so many."""
_STATUS_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "not enough evidence": "yellow",
    "invalid": "bold red",
    "compared": "green",
}
_LONGEST_STATUS = max(map(len, _STATUS_STYLES))
_VERDICT_STYLES = {"improved": "green", "worse": "bold red", "not shown": "dim"}


def problem_lines(rejected: Sequence["Rejection"], most: int) -> list[str]:
    """A line for each rejected row, `file:line: reason`, and one for those above `most`."""
    lines = [visible(f"{found.where}: {' '.join(found.reason.split())}") for found in rejected[:most]]
    left = len(rejected) - len(lines)
    return [*lines, f"… and {left} more; --all lists every one"] if left else lines


def policy_table(checked: "Sequence[Checked]") -> Table:
    """Every rule, the refusals and the recommendations of a policy, and whether their examples hold."""
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "severity", "examples", "result", "title"):
        table.add_column(heading, justify="right" if heading == "examples" else "left", no_wrap=True)
    for part in checked:
        result = Text(f"{len(part.problems)} wrong", "bold red") if part.problems else Text("holds", "green")
        shown = [Text(visible(text)) for text in (part.name, part.severity)]
        table.add_row(*shown, str(part.examples), result, Text(visible(part.title)))
    return table


def data_table(summary: dict[str, Any], listed: str) -> Table:
    """Rows in and out, and what every check found.

    Args:
        summary: the contents of `data.json`.
        listed: where each rejected row is listed, such as `above`.
    """
    rows = summary["rows"]
    table = Table(box=None, pad_edge=False, show_header=False, title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    sources = summary["sources"]
    for source in sources[:_SHOWN_SOURCES]:
        table.add_row("source", str(source["rows"]), Text(visible(_source_line(source))))
    if len(sources) > _SHOWN_SOURCES:
        table.add_row("", "", f"and {len(sources) - _SHOWN_SOURCES} more, in data.json")
    table.add_row("rows read", str(rows["read"]), "")
    table.add_row(
        "kept", str(rows["kept"]), f"train {rows['train']}, valid {rows['valid']}, test {rows['test']}"
    )
    for stage, served in summary["stages"].items() if len(summary["stages"]) > 1 else ():
        splits = ", ".join(f"{split} {count}" for split, count in served.items())
        table.add_row(f"for {stage}", str(sum(served.values())), splits)
    table.add_row("rejected", str(rows["rejected"]), f"each {listed}" if rows["rejected"] else "")
    if rows["left_out"]:
        table.add_row("left out", str(rows["left_out"]), "by `max_rows` or `weight` of their sources")
    for check in summary["checks"]:
        if check["count"]:
            word, style = ("rejected", "red") if check["severity"] == "reject" else ("reported", "yellow")
            what = f"{word}: {visible(check['what'])}"
            table.add_row(check["name"], str(check["count"]), Text(what, style=style))
    return table


def _source_line(source: dict[str, Any]) -> str:
    """What a source was read as: kind, encoding, format, and which column is used for what."""
    used = [ours if ours == theirs else f"{ours} from {theirs}" for ours, theirs in source["columns"].items()]
    kind = f"{source['kind']} in {source['encoding']}" if source["encoding"] else source["kind"]
    parts = [f"{source['name']}: {kind}"]
    if source["format"] != source["kind"]:
        parts.append(f"read as {source['format']}" + (f" ({', '.join(used)})" if used else ""))
    if source["others"]:
        parts.append(f"beside it {', '.join(source['others'])}")
    return "; ".join(parts)


def power_table(plan: "Plan") -> Table:
    """The smallest difference that so many prompts would show of each metric: a line for each."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    table.title = "How small a difference these prompts would show, in four cases of five"
    longest = max((len(visible(metric.name)) for metric in plan.metrics), default=0)
    table.add_column("metric", overflow="fold", min_width=min(longest, _NAME_WIDTH))
    for name in ("prompts", "groups", "shown from"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where base and tuned disagree on")
    for metric in plan.metrics:
        share = quantity(metric.discordance, "rate")
        share += f" ({'measured' if metric.source else 'assumed'})"
        if metric.effect is None:
            shown = "no prompt is scored"
        elif metric.in_deviations:
            shown, share = f"{metric.effect:.2f} SD", "(standard deviations of the difference)"
        elif metric.effect >= metric.discordance:
            shown = "too few prompts"  # even if one side won wherever they disagree
        else:
            shown = difference(metric.effect, "rate").removeprefix("+")
        table.add_row(Text(visible(metric.name)), str(metric.n), str(metric.groups), shown, share)
    measured = next((metric.source for metric in plan.metrics if metric.source), "")
    table.caption = Text(f"measured in {measured}", justify="left") if measured else None
    return table


def find_reports(project: Path) -> list[Path]:
    """The report folders of a project, oldest first."""
    return sorted(
        (path.parent for path in project.glob("reports/*/report.json")),
        key=lambda folder: (folder / "report.json").stat().st_mtime,
    )


def report_line(folder: Path) -> Text:
    """A report on one line: its verdict, and its first score with what became of it."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    status = report["verdict"]["status"]
    line = Text(f"{status:<{_LONGEST_STATUS}}  ", style=_STATUS_STYLES[status])
    if "pairs" in report:
        line.append(f"{len(report['pairs'])} systems against {visible(report['reference'])}  ", style="")
    elif first := next((m for m in report["metrics"] if m["decoding"] == "greedy"), None):
        base, tuned, _ = _score_cells(first)
        line.append(f"{visible(first['name'])} {base} → {tuned}, {first['verdict']}  ", style="not bold")
    return line.append(visible(str(folder / "report.html")), style="not bold dim")


def headline(folders: Sequence[Path]) -> Group:
    """A small table for every report, under its project's name and verdict; 80 columns are enough.

    A line for every metric: base, tuned, difference with its interval, verdict. Numbers are never cut;
    a name that is too long goes on in the next line.
    """
    parts: list[Text | Table | Group] = []
    for folder in folders:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if is_comparison(report):
            parts += [Text(), comparison(folder)]
            continue
        status = report["verdict"]["status"]
        title = Text(folder.resolve().parents[1].name, style="bold", overflow="fold")
        title.append(f": {status}", style=_STATUS_STYLES[status])
        if status != "passed":
            title.append(f"\n{report['verdict']['sentence']}", style="not bold")
            title.append(_missed(report["gates"]), style="not bold")
        parts += [Text(), title, _scores_table(report["metrics"])]
    return Group(*parts[1:])


def comparison(folder: Path) -> Group:
    """What a comparison came to: for every system but the first a small table, under its verdict."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    parts: list[Text | Table] = []
    for pair in report.get("pairs") or [report]:
        names = Names(report["reference"], pair["system"]) if "pairs" in report else names_of(report)
        verdict = pair["verdict"]
        title = Text(visible(f"{names.tuned} against {names.base}"), style="bold", overflow="fold")
        title.append(f": {verdict['status']}", style=_STATUS_STYLES[verdict["status"]])
        if verdict["status"] not in ("passed", "compared"):
            title.append(visible(f"\n{verdict['sentence']}"), style="not bold")
            own = folder / pair.get("folder", "") / "report.json"  # of three systems, each pair's
            title.append(_missed(json.loads(own.read_text(encoding="utf-8"))["gates"]), style="not bold")
        parts += [Text(), title, _scores_table(pair["metrics"], ("reference", "system"))]
    return Group(*parts[1:])


def _missed(gates: list[dict[str, Any]]) -> str:
    """A line for each threshold missed: the worst of k, a bound and a slice stand in no table here."""
    lines = []
    for gate in gates:
        if gate["status"] == "failed" and gate["kind"] == "threshold" and gate["found"] is not None:
            what = gate["metric"] if gate["of"] == "tuned" else f"{gate['of']} of {gate['metric']}"
            what += f" of {gate['slice']}" if gate["slice"] else ""
            bound = "" if gate["bound"] == "estimate" else f"{gate['bound']} bound "
            said = f"{gate['name']}: {what}, {bound}{gate['found']:.3g} where it asks for {gate['wanted']}"
            lines.append(visible(f"\n- {said}"))
    return "".join(lines)


def _scores_table(metrics: list[dict[str, Any]], heads: tuple[str, str] = ("base", "tuned")) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("metric", overflow="fold")
    for name in (*heads, "difference [interval]"):
        table.add_column(Text(name), justify="right", no_wrap=True)  # a plain `str` would be read as markup
    table.add_column("verdict", no_wrap=True)
    for metric in metrics:
        if metric["decoding"] == "greedy":
            verdict = Text(metric["verdict"], style=_VERDICT_STYLES[metric["verdict"]])
            table.add_row(Text(metric["name"]), *_score_cells(metric), verdict)
    return table


def _score_cells(metric: dict[str, Any]) -> Iterable[str]:
    unit: Unit = "rate" if metric["kind"] == "rate" else "score"
    found = metric["difference"] or {}
    yield quantity((metric["base"] or {}).get("estimate"), unit)
    yield quantity((metric["tuned"] or {}).get("estimate"), unit)
    yield f"{difference(found.get('estimate'), unit)} {interval(found.get('low'), found.get('high'), unit)}"


def converse(reply: Callable[[Turns], str], message: str | None, config: Config) -> None:
    """Answer `message` and stop, or read messages until an empty line or Ctrl-D.

    Args:
        reply: gives the model's answer to the turns so far.
        message: one message, or None for a conversation.
        config: for the system prompt, which is the one the model was trained with.
    """
    console = Console()
    if config.model.name == "tiny":
        Console(stderr=True).print("tiny answers: it proves the machinery, take no advice", style="dim")
    prompt = config.data.system_prompt
    turns: Turns = [{"role": "system", "content": prompt}] if prompt else []
    if message is not None:
        console.print(Text(visible(reply([*turns, {"role": "user", "content": message}]))))
        return
    console.print("Type a message; an empty line ends the conversation.", style="dim")
    while True:
        try:
            text = console.input("[bold]you[/] ").strip()
        except EOFError:
            console.print()  # the line that the prompt began
            return
        if not sys.stdin.isatty():  # then nobody's typing stands behind the prompt
            console.print(Text(visible(text)))
        if not text:
            return
        turns.append({"role": "user", "content": text})
        turns.append({"role": "assistant", "content": reply(turns)})
        console.print(Text("assistant ", style="bold cyan") + Text(visible(turns[-1]["content"])))
