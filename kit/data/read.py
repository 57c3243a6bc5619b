"""Sources to rows: every record becomes a row or a rejection that says where it stood and why."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.explain import suggest
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.config.schema_train import Stage
from kit.data.formats import CONVERTERS, Converter, check_messages, detect, used_columns
from kit.data.opening import File
from kit.data.places import name_of
from kit.data.preference import (
    PAIR_STAGES,
    PREFERENCE,
    beside,
    convert_pair,
    detect_pairs,
    refuse_for_stages,
    used_by,
)
from kit.data.records import Opened, open_file, open_grammar, open_hub
from kit.data.rows import DOCUMENT, Message, Record, Rejection, Row, SourceInfo, SplitName, Tool, is_document
from kit.data.stages import ReadFor, read_for
from kit.data.tools import read_tools
from kit.files import sha256_file
from kit.hooks import Hooks
from kit.hooks import Reader as HookReader

_LIKELY = {
    "prompt": ("question", "query", "input", "problem", "instruction"),
    "completion": ("answer", "response", "output", "reply", "solution"),
}
_LIKELY_PAIR = {
    "prompt": _LIKELY["prompt"],
    "chosen": ("chosen_response", "response_chosen", "preferred", "accepted", "better", "win"),
    "rejected": ("rejected_response", "response_rejected", "dispreferred", "worse", "lose"),
}
_PEEK = 100  # records looked at to find a source's format

HOOK_ERRORS = (Exception, SystemExit)
"""What a project's own code may raise on a record it was not made for: anything but Ctrl-C."""


@dataclass(frozen=True)
class Reader:
    """How the records of one source become rows; small, for it travels with them to other processes."""

    name: str
    part: int
    """The index of its source in `data.sources`."""
    format: str
    columns: dict[str, str]
    split: SplitName | None
    read_for: ReadFor

    def row(self, record: Record, config: Config, hooks: Hooks) -> Row | Rejection:
        """A row with all columns that the format did not use up, and the project's system prompt."""
        where = f"{self.name}:{record.line}"
        if record.value is None:
            return Rejection(where, "unreadable", record.problem, record.raw)
        value = renamed(record.value, self.columns)
        try:
            messages, tools, fields = _convert(value, _converter_of(self.format, hooks), self.format)
            if is_document(messages) and "pretrain" not in self.read_for.stages:
                raise ValueError("is a document; set train.stage: pretrain to train on it")
            rejected, label = beside(value, fields, self.format, self.read_for.stages)
        except HOOK_ERRORS as error:
            reason = _reason(error, self.format) + _other_format(value, self.format)
            return Rejection(where, "format", reason, plain(record.value))
        system_prompt = config.data.system_prompt
        if system_prompt and messages[0]["role"] not in ("system", DOCUMENT):
            messages = [{"role": "system", "content": system_prompt}, *messages]
        row = Row(self.name, record.line, messages, fields, self.split, part=self.part, tools=tools)
        row.rejected, row.label = rejected, label
        if not self.read_for.learning(row):
            stages = " and ".join(self.read_for.stages)
            reason = f"neither a pair nor a labelled answer, and {stages} learn from nothing else"
            return Rejection(where, "format", reason, plain(record.value))
        return row


def open_source(
    source: Source, part: int, config: Config, root: Path, hooks: Hooks
) -> tuple[SourceInfo, Reader, Iterator[Record]]:
    """Open one source and find its format; records are read as they are asked for.

    Args:
        source: one file, Hub dataset or grammar.
        part: its index in `data.sources`.
        config, root, hooks: the project's.

    Returns:
        What the source is (its `rows` grow while reading), how its records become rows, the records.

    Raises:
        DataError: the source cannot be read, or its format is unknown or not recognised.
    """
    name = name_of(source)
    opened = _open(source, config, root)
    head = list(islice(opened.records, _PEEK))
    stages = read_for(source, config)
    format_name = _format_of(source, head, hooks, name, stages.stages)
    seen = {column for record in head for column in renamed(record.value or {}, source.columns)}
    stages = stages.narrowed(format_name, seen, known=format_name not in hooks.readers)
    if any(record.value is not None for record in head) and format_name not in hooks.readers:
        refuse_for_stages(seen, format_name, stages.stages, name)
    wanted = used_columns(format_name) + used_by(format_name, stages.stages)
    used = [column for column in wanted if column in seen]
    info = SourceInfo(
        name=name,
        sha256=None if source.hub else sha256_file(root / (source.path or source.grammar or "")),
        format="grammar" if source.grammar else format_name,
        synthetic=source.grammar is not None,
        kind=opened.kind,
        encoding=opened.encoding,
        columns={column: source.columns.get(column, column) for column in used},
        others=sorted(plain(str(column)) for column in seen.difference(used)),
    )
    split = None if source.split == "auto" else source.split
    reader = Reader(name, part, format_name, source.columns, split, stages)
    return info, reader, _counted(chain(head, opened.records), info)


def _counted(records: Iterator[Record], info: SourceInfo) -> Iterator[Record]:
    for record in records:
        info.rows += 1
        yield record


def _open(source: Source, config: Config, root: Path) -> Opened:
    if source.hub:
        return Opened("Hub dataset", None, open_hub(source))
    if source.grammar:
        records = open_grammar(root / source.grammar, source, config.seed, config.languages)
        return Opened("grammar", None, records)
    return open_file(File(root / str(source.path), name_of(source), source.sheet))


def _converter_of(format_name: str, hooks: Hooks) -> Converter | HookReader:
    if format_name in hooks.readers:
        return hooks.readers[format_name]
    if format_name in PREFERENCE:
        return lambda record: convert_pair(record, format_name)[0]
    return CONVERTERS[format_name][1]


def _format_of(source: Source, head: list[Record], hooks: Hooks, name: str, stages: Sequence[Stage]) -> str:
    """The named format or hook, or the format that the first records' columns show."""
    if source.format in hooks.readers:
        return source.format
    known = [*CONVERTERS, *PREFERENCE]
    if source.format not in ("auto", *known):
        raise unknown_hook("format", source.format, ["auto", *known, *hooks.readers], name)
    records = [renamed(record.value, source.columns) for record in head if record.value is not None]
    found = source.format if source.format != "auto" else _detected(records, stages)
    if found is None:
        raise _no_format(source, head, name, stages)
    if found == "text" and "pretrain" not in stages and source.format == "auto":
        learned = " and ".join(stages)
        raise DataError(
            Problem(
                name,
                f"holds documents (a column `text`), and `train.stage: {learned}` learns answers",
                "set train.stage: pretrain, or rename the columns of the dialogues with `columns`",
            )
        )
    return found


def _detected(records: list[dict[str, Any]], stages: Sequence[Stage]) -> str | None:
    """The format that the first record shows which shows one. Pairs are looked for where they are learned
    from, and elsewhere last: a dialogue may have a column `chosen` of its own.
    """
    for record in records:
        pairs, dialogue = detect_pairs(record), detect(record)
        if pairs and dialogue and _asks_only(record, dialogue):
            dialogue = None  # the answers stand in `chosen` and `rejected`
        if found := (pairs or dialogue) if set(stages) & set(PAIR_STAGES) else (dialogue or pairs):
            return found
    return None


def _asks_only(record: dict[str, Any], format_name: str) -> bool:
    try:
        return str(CONVERTERS[format_name][1](record)[-1]["role"]) in ("user", "tool")
    except ValueError:
        return False


def unknown_hook(what: str, found: str, known: list[str], where: str) -> DataError:
    """The error of a reader or cleaner that neither the kit nor the project has."""
    return DataError(Problem(where, f"unknown {what} {found!r}", suggest(found, known, "known")))


def _no_format(source: Source, head: list[Record], name: str, stages: Sequence[Stage]) -> DataError:
    columns = sorted({plain(str(column)) for record in head for column in record.value or {}})
    if not columns:
        first = next(
            (f"line {record.line}: {record.problem or 'an object without columns'}" for record in head),
            "it holds no records",
        )
        return DataError(Problem(name, f"nothing in it can be read; {first}", "open it and export it again"))
    missing = [f"{ours}: {theirs}" for ours, theirs in source.columns.items() if theirs not in columns]
    renamed = f" (renamed columns that are not there: {', '.join(missing)})" if missing else ""
    formats = PREFERENCE if set(stages) <= set(PAIR_STAGES) else CONVERTERS
    shapes = "; ".join(f"{shape} needs {' and '.join(needed)}" for shape, (needed, _) in formats.items())
    return DataError(
        Problem(
            where=name,
            message=f"no known format has the columns {', '.join(columns)}{renamed}",
            hint=f"rename them, such as columns: {_likely(columns, stages)}; {shapes}",
        )
    )


def _likely(columns: list[str], stages: Sequence[Stage]) -> str:
    """The renames that the columns' own names suggest: told, not done, for a guess would train in silence."""
    found = {
        ours: next((column for column in columns if column.lower() in names), names[0])
        for ours, names in (_LIKELY_PAIR if set(stages) <= set(PAIR_STAGES) else _LIKELY).items()
    }
    return f"{{{', '.join(f'{ours}: {theirs}' for ours, theirs in found.items())}}}"


def _other_format(value: dict[str, Any], name: str) -> str:
    """What to say of a record in another format than its file's, which must not be guessed row by row."""
    found = detect_pairs(value) if name in PREFERENCE else detect(value) if name in CONVERTERS else None
    if found in (None, name):
        return ""
    return f" (the file is read as {name}, this record looks like {found}: one format a file)"


def _reason(error: BaseException, reader: str) -> str:
    """A ValueError is how a reader turns a record away; anything else is a mistake in the reader."""
    if type(error) is ValueError and str(error):
        return str(error)
    return f"the reader {reader!r} failed: {type(error).__name__}: {error}".rstrip(": ")


def _convert(
    value: dict[str, Any], convert: Converter | HookReader, name: str
) -> tuple[list[Message], list[Tool], dict[str, Any]]:
    """Messages, tools and the remaining columns, from one of our formats or from a project's reader."""
    result = convert(value)
    if isinstance(result, list):
        fields = {plain(str(column)): plain(item) for column, item in value.items() if column not in _USED_UP}
        return result, read_tools(value.get("tools")), fields
    if not isinstance(result, dict) or "messages" not in result:
        raise ValueError(
            f"the reader {name!r} must return a row with `messages`, found {type(result).__name__}"
        )
    fields = {
        plain(str(column)): plain(item)
        for column, item in result.items()
        if column not in ("messages", "tools")
    }
    return check_messages(result["messages"]), read_tools(result.get("tools")), fields


_USED_UP = {"messages", "conversations", "history", "tools"}  # they would only be stored twice


def renamed(record: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """The record under our names, as `columns` (ours -> theirs) says; the rest keeps its own."""
    theirs = set(columns.values())
    kept = {column: value for column, value in record.items() if column not in theirs}
    return kept | {ours: record[name] for ours, name in columns.items() if name in record}


def plain(value: Any) -> Any:
    """`value` as strict JSON: NaN and infinity become null, unknown types their text, half
    characters a question mark."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int)) else str(value)
