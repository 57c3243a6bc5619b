"""Two prepared sets side by side in the terminal."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kit.report.formatting import visible

_CHANGED = {
    "columns": "the same messages, other labels or slices",
    "system": "another system message, rejected answer or label",
    "answer": "the same prompt, another answer",
    "place": "the same file and line, another prompt",
}
_MOST_SHOWN = 3
_WIDEST = 60  # characters of a setting's value


def diff_text(found: Mapping[str, Any]) -> Group:
    """The comparison as tables; `found` is what `kit.data.diff.diff` returns."""
    parts: list[RenderableType] = [_header(found)]
    parts += [Text("\nrows", style="bold"), _numbers(found["rows"], always=True)]
    parts += [Text("\nwhat became of them", style="bold"), _changes(found["changes"])]
    for title, pairs in (("rows by check", found["checks"]), ("tokens", found["tokens"])):
        parts += [Text(f"\n{title}", style="bold"), _numbers(pairs, always=title == "tokens")]
    for title, pairs in (
        ("sources and benchmarks (sha256)", found["sources"]),
        ("settings", found["settings"]),
    ):
        parts += [Text(f"\n{title}", style="bold"), _values(pairs)]
    return Group(*parts)


def _header(found: Mapping[str, Any]) -> Text:
    text = Text()
    for name, one in zip("AB", found["sets"], strict=True):
        text.append(f"{name}  ", style="bold")
        text.append(f"{visible(one['folder'])}, casekit {one['kit_version']}\n")
    for note in found["notes"]:
        text.append(f"note: {note}\n", style="yellow")
    if not found["notes"]:
        text.append("made by the same casekit for the same tokenizer: all is comparable\n", style="dim")
    text.rstrip()
    return text


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in ("A", "B", "B - A") else "left", overflow="fold")
    return table


def _numbers(pairs: Mapping[str, list[Any]], always: bool) -> RenderableType:
    """Name, before, after, difference; only those that differ, unless `always`."""
    table = _table("", "A", "B", "B - A")
    for name, (old, new) in pairs.items():
        if always or old != new:
            known = old is not None and new is not None
            change = f"{round(new - old, 4):+g}" if known and new != old else ""
            table.add_row(name.replace("_", " "), _shown(old), _shown(new), change)
    return table if table.row_count else Text("no difference", style="dim")


def _changes(changes: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row("same", str(changes["same"]), "")
    for name, what in _CHANGED.items():
        part = changes["changed"][name]
        if part["count"]:
            table.add_row("changed", str(part["count"]), Text(f"{what}{_examples(part)}"))
    moved = changes["moved"]
    ways = ", ".join(f"{way} {count}" for way, count in moved["ways"].items())
    table.add_row("moved", str(moved["count"]), Text(f"{ways}{_examples(moved)}"))
    for name, other in (("out", "B"), ("in", "A")):
        part = changes[name]
        by = ", ".join(f"{check} {count}" for check, count in part["rejected"].items())
        rejected = f"rejected in {other}: {by}" if by else ""
        table.add_row(name, str(part["count"]), Text(f"{rejected}{_examples(part)}"))
    return table


def _examples(part: Mapping[str, Any]) -> str:
    shown = [visible(where) for where in part["examples"][:_MOST_SHOWN]]
    more = ", …" if part["count"] > len(shown) else ""
    return f" ({', '.join(shown)}{more})" if shown else ""


def _values(pairs: Mapping[str, list[Any]]) -> RenderableType:
    table = _table("", "in A", "in B")
    for name, (old, new) in pairs.items():
        table.add_row(Text(visible(name)), Text(_shown(old)), Text(_shown(new)))
    return table if table.row_count else Text("no difference", style="dim")


def _shown(value: Any) -> str:
    text = (
        "—" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    )
    return visible(text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…")
